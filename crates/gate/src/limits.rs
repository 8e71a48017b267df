//! Every limit of the gate, with its unit. Full means wait or refuse, never grow or drop.

use serde::{Deserialize, Serialize};

/// The gate's limits; table `[limits]` of the configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Driver sessions at once, those that are logging in included.
    pub sessions_max: usize,
    /// Bytes of one statement (Query or Parse); a longer one is refused.
    pub statement_bytes_max: usize,
    /// Deepest nesting of a sealed statement (parentheses, CASEs, chains of operators), in tokens;
    /// a deeper one is refused. At most [`sql::DEPTH_MAX`].
    pub statement_depth_max: usize,
    /// Bytes of one Bind on a sealed statement; a longer one is refused.
    pub bind_bytes_max: usize,
    /// Sealed statements that one session keeps prepared.
    pub prepared_max: usize,
    /// Rows in one batch that waits for its record.
    pub batch_rows_max: usize,
    /// Bytes in one batch that waits for its record.
    pub batch_bytes_max: usize,
    /// Batches of one session that wait for their record.
    pub batches_in_flight_max: usize,
    /// Bytes of a driver that are read ahead while a barrier holds them back.
    pub driver_buffer_bytes_max: usize,
    /// Bytes towards a driver that wait for its socket.
    pub output_buffer_bytes_max: usize,
    /// Bytes of one message of PostgreSQL in which cells are recognised; a longer one streams
    /// through as it is, sealed.
    pub recognise_bytes_max: usize,
    /// Bytes of one row of COPY data on the way in.
    pub copy_row_bytes_max: usize,
    /// A session without a byte from its driver for so long is closed; 0: never.
    pub idle_ms_max: u64,
    /// Start-up and login together.
    pub login_ms_max: u64,
    /// Connecting and logging in to PostgreSQL.
    pub upstream_ms_max: u64,
    /// Failed logins a minute from one address; more wait and are refused without a look.
    pub login_failures_per_minute_max: u32,
    /// How long a stop waits for sessions that are in the middle of something.
    pub drain_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_max: 500,
            statement_bytes_max: 1 << 20,
            statement_depth_max: sql::DEPTH_MAX,
            bind_bytes_max: 16 << 20,
            prepared_max: 1_000,
            batch_rows_max: 1_024,
            batch_bytes_max: 256 << 10,
            batches_in_flight_max: 2,
            driver_buffer_bytes_max: 2 << 20,
            output_buffer_bytes_max: 256 << 10,
            recognise_bytes_max: 16 << 20,
            copy_row_bytes_max: 16 << 20,
            idle_ms_max: 0,
            login_ms_max: 10_000,
            upstream_ms_max: 10_000,
            login_failures_per_minute_max: 20,
            drain_ms_max: 10_000,
        }
    }
}

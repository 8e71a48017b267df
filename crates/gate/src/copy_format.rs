//! From the planner's words for a COPY format to the codec's.

use pgwire::copy::{CopyFormat, ForceQuote};

/// `None`: binary, or options under which rows may mean something else than they seem to.
pub(crate) fn of(options: &sql::CopyOptions) -> Option<CopyFormat> {
    if options.unusual {
        return None;
    }
    match options.format {
        sql::CopyFormat::Text => Some(CopyFormat::Text {
            delimiter: options.delimiter,
            null: options.null.clone().into_bytes(),
            header: options.header,
        }),
        sql::CopyFormat::Csv => Some(CopyFormat::Csv {
            delimiter: options.delimiter,
            null: options.null.clone().into_bytes(),
            quote: options.quote,
            escape: options.escape,
            force_quote: ForceQuote::None,
            header: options.header,
        }),
        sql::CopyFormat::Binary => None,
    }
}

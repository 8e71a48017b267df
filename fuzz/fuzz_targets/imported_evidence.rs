//! Evidence of Windows, Defender and asset management that is brought in: never a panic, within the
//! limits, and every piece belongs to a terminal. The first byte says which kind, for what follows.
#![no_main]

use std::io::Cursor;
use std::sync::LazyLock;

use intake::evidence::{Kind, Options, PIECES_MAX, TERMINALS_MAX, Words, read};
use intake::{Mapping, NAME_BYTES_MAX};
use libfuzzer_sys::fuzz_target;

static OPTIONS: LazyLock<Options> = LazyLock::new(|| Options {
    mapping: "time=日時,terminal=コンピュータ名,actor=ユーザー名,event=操作"
        .parse::<Mapping>()
        .expect("a mapping"),
    words: "attached=USB接続|接続,written=書込,refused=使用禁止,other=*"
        .parse::<Words>()
        .expect("words"),
    ..Options::default()
});

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, file)) = bytes.split_first() else {
        return;
    };
    let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
    if let Ok(evidence) = read(Cursor::new(file), kind, &OPTIONS) {
        assert!(evidence.pieces.len() <= PIECES_MAX);
        assert!(evidence.newest.len() <= TERMINALS_MAX);
        for piece in &evidence.pieces {
            assert!(piece.terminal.len() <= NAME_BYTES_MAX);
        }
    }
    if let Ok(text) = str::from_utf8(file) {
        drop(text.parse::<Words>());
    }
});

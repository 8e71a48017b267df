//! The detectors. Those of `burst`, `walk`, `identity`, `signs`, `chain` and `silence` look at each
//! record; `daily`, `together` and `year` judge days that are over.

mod burst;
pub(crate) mod chain;
mod daily;
mod identity;
mod signs;
pub(crate) mod silence;
mod together;
mod walk;
mod year;

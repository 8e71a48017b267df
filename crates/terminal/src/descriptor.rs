//! USB descriptors as the kernel shows them in `/sys/bus/usb/devices/X/descriptors` before anything is
//! authorised (USB 2.0, chapter 9), and HID report descriptors (HID 1.11, 6.2.2).
//!
//! Strict: what does not add up is an error, and the device stays refused. Work and memory are bounded
//! by the named limits.

use crate::device::{HidUse, INTERFACES_MAX, Interface};

/// Bytes of a device's descriptors: eight configurations of the greatest length are far above what is
/// found.
pub const DESCRIPTORS_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a report descriptor: Linux's HID_MAX_DESCRIPTOR_SIZE.
pub const REPORT_DESCRIPTOR_BYTES_MAX: usize = 4096;

const DEVICE: u8 = 1;
const CONFIGURATION: u8 = 2;
const INTERFACE: u8 = 4;

/// Why descriptors cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// More bytes than a device has.
    #[error("the descriptors have {0} bytes, more than any device needs")]
    TooLong(usize),
    /// Bytes are missing.
    #[error("the descriptors end early at byte {0}")]
    Short(usize),
    /// A length that cannot be.
    #[error("the descriptor at byte {0} has an impossible length")]
    Length(usize),
    /// A descriptor where it cannot be.
    #[error("the descriptor at byte {0} is out of place")]
    Place(usize),
    /// Too many interfaces.
    #[error("the device has more than {INTERFACES_MAX} interface settings")]
    Interfaces,
    /// Not as many configurations as announced.
    #[error("the device announces {announced} configurations and has {found}")]
    Configurations {
        /// bNumConfigurations.
        announced: u8,
        /// Those found.
        found: usize,
    },
    /// A HID item where it cannot be.
    #[error("the report descriptor's item at byte {0} makes no sense")]
    Item(usize),
}

/// What a device's descriptors say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
    /// bcdDevice.
    pub version: u16,
    /// bDeviceClass, bDeviceSubClass, bDeviceProtocol.
    pub class: [u8; 3],
    /// All alternate settings of all interfaces of all configurations.
    pub interfaces: Vec<Interface>,
}

/// Reads a device descriptor and its configurations.
///
/// # Errors
/// Anything that does not add up.
pub fn parse(bytes: &[u8]) -> Result<Described, DescriptorError> {
    use DescriptorError as E;
    if bytes.len() > DESCRIPTORS_BYTES_MAX {
        return Err(E::TooLong(bytes.len()));
    }
    let (device, mut rest) = bytes
        .split_first_chunk::<18>()
        .ok_or(E::Short(bytes.len()))?;
    if device[0] != 18 {
        return Err(E::Length(0));
    }
    if device[1] != DEVICE {
        return Err(E::Place(0));
    }
    let mut out = Described {
        vendor: u16::from_le_bytes([device[8], device[9]]),
        product: u16::from_le_bytes([device[10], device[11]]),
        version: u16::from_le_bytes([device[12], device[13]]),
        class: [device[4], device[5], device[6]],
        interfaces: Vec::new(),
    };
    let mut found = 0;
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let head = rest.first_chunk::<9>().ok_or(E::Short(at))?;
        if head[0] < 9 {
            return Err(E::Length(at));
        }
        if head[1] != CONFIGURATION {
            return Err(E::Place(at));
        }
        let total = usize::from(u16::from_le_bytes([head[2], head[3]]));
        // A configuration shorter than its own head would be read for ever.
        if total < 9 {
            return Err(E::Length(at));
        }
        let (configuration, after) = rest.split_at_checked(total).ok_or(E::Short(at))?;
        settings(configuration, at, head[5], &mut out.interfaces)?;
        found += 1;
        rest = after;
    }
    if found != usize::from(device[17]) || found == 0 {
        return Err(E::Configurations {
            announced: device[17],
            found,
        });
    }
    Ok(out)
}

/// The interfaces of one configuration, which begins at byte `start`.
fn settings(
    bytes: &[u8],
    start: usize,
    configuration: u8,
    out: &mut Vec<Interface>,
) -> Result<(), DescriptorError> {
    use DescriptorError as E;
    let mut rest = bytes;
    while let [length, more @ ..] = rest {
        let at = start + bytes.len() - rest.len();
        let length = usize::from(*length);
        let descriptor = rest.get(..length).ok_or(E::Short(at))?;
        let kind = *more.first().ok_or(E::Short(at))?;
        if length < 2 {
            return Err(E::Length(at));
        }
        match kind {
            DEVICE => return Err(E::Place(at)),
            CONFIGURATION if at != start => return Err(E::Place(at)),
            INTERFACE => {
                let it = descriptor.first_chunk::<9>().ok_or(E::Length(at))?;
                if out.len() >= INTERFACES_MAX {
                    return Err(E::Interfaces);
                }
                out.push(Interface {
                    configuration,
                    number: it[2],
                    alternate: it[3],
                    class: it[5],
                    subclass: it[6],
                    protocol: it[7],
                    name: String::new(),
                    report: None,
                });
            }
            _ => {}
        }
        rest = &rest[length..];
    }
    Ok(())
}

/// What a HID report descriptor says that its interface sends. Doubt goes to the keyboard: a usage of
/// the keyboard page anywhere makes one.
///
/// # Errors
/// Items that do not add up.
pub fn report(bytes: &[u8]) -> Result<HidUse, DescriptorError> {
    use DescriptorError as E;
    if bytes.len() > REPORT_DESCRIPTOR_BYTES_MAX {
        return Err(E::TooLong(bytes.len()));
    }
    let mut out = HidUse::default();
    let mut state = Items::default();
    let mut rest = bytes;
    while let [prefix, more @ ..] = rest {
        let at = bytes.len() - rest.len();
        if *prefix == 0xfe {
            // A long item: size, tag, data. None is defined; the kernel refuses them too.
            return Err(E::Item(at));
        }
        let size = [0, 1, 2, 4][usize::from(prefix & 3)];
        let (data, after) = more.split_at_checked(size).ok_or(E::Short(at))?;
        let value = data
            .iter()
            .rev()
            .fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
        state
            .item(prefix & 0xfc, size, value, &mut out)
            .ok_or(E::Item(at))?;
        rest = after;
    }
    if state.depth != 0 {
        return Err(E::Short(bytes.len()));
    }
    Ok(out)
}

/// Pushed global states that are followed.
const PUSHED_MAX: usize = 16;
/// Collections in collections that are followed.
const DEPTH_MAX: usize = 64;

#[derive(Default)]
struct Items {
    page: u16,
    pushed: Vec<u16>,
    depth: usize,
    /// Usages since the last main item: page and usage. Only the last counts for a collection, so it
    /// is all that is kept.
    usage: Option<(u16, u16)>,
}

impl Items {
    /// `None`: the item makes no sense here.
    fn item(&mut self, tag: u8, size: usize, value: u32, out: &mut HidUse) -> Option<()> {
        match tag {
            // Global: usage page, push, pop.
            0x04 => {
                self.page = u16::try_from(value).ok()?;
                note_page(self.page, out);
            }
            0xa4 => {
                self.pushed.push(self.page);
                (self.pushed.len() <= PUSHED_MAX).then_some(())?;
            }
            0xb4 => self.page = self.pushed.pop()?,
            // Local: usage, usage minimum, usage maximum; four bytes carry their own page.
            0x08 | 0x18 | 0x28 => {
                let [low_0, low_1, high_0, high_1] = value.to_le_bytes();
                let page = if size == 4 {
                    u16::from_le_bytes([high_0, high_1])
                } else {
                    self.page
                };
                note_page(page, out);
                self.usage = Some((page, u16::from_le_bytes([low_0, low_1])));
                note_usage(page, u16::from_le_bytes([low_0, low_1]), out);
            }
            // Main: collection, end of collection, input, output, feature.
            0xa0 => {
                self.depth += 1;
                (self.depth <= DEPTH_MAX).then_some(())?;
                self.usage = None;
            }
            0xc0 => self.depth = self.depth.checked_sub(1)?,
            0x80 | 0x90 | 0xb0 => self.usage = None,
            _ => {}
        }
        Some(())
    }
}

fn note_page(page: u16, out: &mut HidUse) {
    match page {
        0x07 => out.keyboard = true,
        0x0d => out.pointer = true,
        0x0b | 0x0c => out.controls = true,
        // Generic desktop and buttons say what they are by their usages; LEDs only light.
        0x00 | 0x01 | 0x08 | 0x09 => {}
        _ => out.other = true,
    }
}

fn note_usage(page: u16, usage: u16, out: &mut HidUse) {
    if page != 0x01 {
        return;
    }
    match usage {
        0x06 | 0x07 => out.keyboard = true,
        0x01 | 0x02 => out.pointer = true,
        0x80..=0x8f => out.controls = true,
        // Axes, wheel, motion: parts of one of the above.
        0x30..=0x4f => {}
        _ => out.other = true,
    }
}

#[cfg(test)]
pub(crate) mod tests;

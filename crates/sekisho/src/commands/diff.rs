//! A line diff, for people who sign. Pure.

/// Lines around a difference that are shown.
const CONTEXT: usize = 3;
/// Pairs of lines compared at most; past it everything counts as replaced.
const PAIRS_MAX: usize = 16_000_000;

/// A line: unchanged, gone, or new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Line<'a> {
    Same(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// What changes from `before` to `after`: `-` gone, `+` new, with three lines around each place.
/// Empty if nothing changes.
pub fn unified(before: &str, after: &str) -> Vec<String> {
    shown(&lines(before, after), CONTEXT)
}

/// The same with every line.
pub fn whole(before: &str, after: &str) -> Vec<String> {
    shown(&lines(before, after), usize::MAX)
}

fn shown(lines: &[Line<'_>], context: usize) -> Vec<String> {
    let mut out = Vec::new();
    let mut skipped = false;
    for (at, line) in lines.iter().enumerate() {
        let from = at.saturating_sub(context);
        let to = at.saturating_add(context).min(lines.len() - 1);
        if lines[from..=to]
            .iter()
            .all(|near| matches!(near, Line::Same(_)))
            && context < lines.len()
        {
            skipped = true;
            continue;
        }
        if skipped {
            out.push("   ...".to_owned());
            skipped = false;
        }
        out.push(match line {
            Line::Same(text) => format!("   {text}"),
            Line::Gone(text) => format!(" - {text}"),
            Line::New(text) => format!(" + {text}"),
        });
    }
    let changes = lines.iter().any(|line| !matches!(line, Line::Same(_)));
    if changes || context == usize::MAX {
        out
    } else {
        Vec::new()
    }
}

/// By the longest common subsequence.
fn lines<'a>(before: &'a str, after: &'a str) -> Vec<Line<'a>> {
    let (a, b): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let start = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let end = a[start..]
        .iter()
        .rev()
        .zip(b[start..].iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    let (old, new) = (&a[start..a.len() - end], &b[start..b.len() - end]);
    let mut out: Vec<Line<'a>> = a[..start].iter().map(|line| Line::Same(line)).collect();
    if old.len().saturating_mul(new.len()) > PAIRS_MAX {
        out.extend(old.iter().map(|line| Line::Gone(line)));
        out.extend(new.iter().map(|line| Line::New(line)));
    } else {
        middle(old, new, &mut out);
    }
    out.extend(a[a.len() - end..].iter().map(|line| Line::Same(line)));
    out
}

fn middle<'a>(old: &[&'a str], new: &[&'a str], out: &mut Vec<Line<'a>>) {
    let wide = new.len() + 1;
    let mut longest = vec![0_u32; (old.len() + 1) * wide];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i * wide + j] = if old[i] == new[j] {
                longest[(i + 1) * wide + j + 1] + 1
            } else {
                longest[(i + 1) * wide + j].max(longest[i * wide + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            out.push(Line::Same(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len()
            || (i < old.len() && longest[(i + 1) * wide + j] >= longest[i * wide + j + 1])
        {
            out.push(Line::Gone(old[i]));
            i += 1;
        } else {
            out.push(Line::New(new[j]));
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{unified, whole};

    #[test]
    fn a_changed_line_stands_with_its_surroundings() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let after = before.replace("f\n", "F\n");
        assert_eq!(
            unified(before, &after),
            [
                "   ...", "   c", "   d", "   e", " - f", " + F", "   g", "   h"
            ]
        );
        assert!(unified(before, before).is_empty());
        assert_eq!(whole("", "x\n"), [" + x"]);
    }

    #[test]
    fn a_diff_holds_both_texts() {
        // All texts of up to five lines of two kinds.
        let texts: Vec<String> = (1_u32..64)
            .map(|bits| {
                let len = bits.ilog2();
                (0..len)
                    .map(|at| if bits >> at & 1 == 1 { "x\n" } else { "y\n" })
                    .collect()
            })
            .collect();
        for a in &texts {
            for b in &texts {
                let lines = whole(a, b);
                let side = |mark: &str| -> String {
                    let own = lines
                        .iter()
                        .filter(|l| l.starts_with("   ") || l.starts_with(mark));
                    own.map(|l| format!("{}\n", &l[3..])).collect()
                };
                assert_eq!((&side(" - "), &side(" + ")), (a, b));
            }
        }
    }
}

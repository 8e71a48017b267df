//! The report as one page that needs nothing else and prints on A4. Everything that is not ours is
//! escaped; there is no script, and nothing is loaded.

use std::fmt::Write;

use super::Verified;
use super::text::Table;
use crate::lang::Lang;

const STYLE: &str = "\
@page{size:A4;margin:18mm 14mm}\
body{font:10.5pt/1.5 'Noto Sans JP','Hiragino Sans','Yu Gothic',sans-serif;color:#111;max-width:180mm;margin:0 auto}\
h1{font-size:17pt;margin:0 0 4mm}h2{font-size:12.5pt;margin:7mm 0 2mm;break-after:avoid}\
table{border-collapse:collapse;width:100%;font-size:8.5pt}\
th,td{border-bottom:.2mm solid #bbb;padding:.8mm 1.2mm;text-align:left;vertical-align:top}\
th{border-bottom:.4mm solid #333}thead{display:table-header-group}tr{break-inside:avoid}\
.n{text-align:right;font-variant-numeric:tabular-nums}\
.d{border:.4mm solid #b00;padding:2mm 4mm;margin:4mm 0}ul{margin:0;padding-left:5mm}\
footer{margin-top:8mm;font-size:8.5pt;color:#444}";

/// Text as HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            // Nothing that a page could not hold, and nothing that turns text around.
            '\u{0}'..='\u{8}'
            | '\u{b}'..='\u{1f}'
            | '\u{7f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            it => out.push(it),
        }
    }
    out
}

fn list(out: &mut String, items: &[String]) {
    out.push_str("<ul>\n");
    for item in items {
        let _ = writeln!(out, "<li>{}</li>", escaped(item));
    }
    out.push_str("</ul>\n");
}

fn table(out: &mut String, table: &Table) {
    let _ = writeln!(out, "<h2>{}</h2>", escaped(&table.title));
    let cell = |out: &mut String, kind: &str, at: usize, text: &str| {
        let class = if at >= table.numbers {
            " class=\"n\""
        } else {
            ""
        };
        let _ = write!(out, "<{kind}{class}>{}</{kind}>", escaped(text));
    };
    out.push_str("<table>\n<thead><tr>");
    for (at, head) in table.head.iter().enumerate() {
        cell(out, "th", at, head);
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (at, text) in row.iter().enumerate() {
            cell(out, "td", at, text);
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n");
}

impl Verified<'_> {
    /// One page.
    pub fn html(&self, lang: Lang) -> String {
        let title = escaped(&self.title(lang));
        let code = lang.pick("en", "ja");
        let mut out = format!(
            "<!DOCTYPE html>\n<html lang=\"{code}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        );
        list(&mut out, &self.basis(lang));
        let doubts = self.doubts_said(lang);
        if !doubts.is_empty() {
            let _ = writeln!(out, "<div class=\"d\">");
            list(&mut out, &doubts);
            out.push_str("</div>\n");
        }
        let mut said = self.person_said(lang);
        for it in self.tables(lang) {
            table(&mut out, &it);
            // They belong to the first table, the person's.
            if !said.is_empty() {
                list(&mut out, &std::mem::take(&mut said));
            }
        }
        out.push_str("<footer>\n");
        list(&mut out, &Self::notes(lang).map(str::to_owned));
        out.push_str("</footer>\n</body>\n</html>\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn nothing_is_markup() {
        let text = escaped("<script>alert('1')</script>&\"\u{202e}\u{0}");
        assert_eq!(
            text,
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;\u{fffd}\u{fffd}"
        );
    }
}

//! The little XML that S3 speaks: texts of elements, and texts that are safe inside one.
//!
//! Does not own: any document's meaning. Made for flat documents of known servers and clients, not for XML in general.

/// The texts of all elements of a name in a small XML document.
pub(crate) fn elements(document: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let parts = document.split(&open).skip(1);
    let texts = parts.map(|part| part.split(&close).next().expect("a split has a first part"));
    texts.map(unescape).collect()
}

fn unescape(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    text.replace("&apos;", "'").replace("&amp;", "&")
}

/// A text with the characters replaced that mean something in XML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_comes_back() {
        let odd = "a&b<c>\"d\" &amp; é";
        let document = format!("<r><k>{}</k><k>2</k></r>", escape(odd));
        assert_eq!(elements(&document, "k"), [odd, "2"]);
    }
}

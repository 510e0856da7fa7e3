//! What a store answered, in words for a person: the code and the message of an XML body, other bodies cut.
//!
//! Does not own: what follows from it (`error`). Stores differ in their bodies, so this reads two elements of one and no
//! more; what it cannot read stays, short enough for a line.

/// Most characters of an answer.
const LONGEST: usize = 600;

/// The answer with each XML error replaced by its code and message.
pub fn plain(answer: &str) -> String {
    let mut rest = answer;
    let mut words = String::new();
    while let Some(start) = ["<?xml", "<Error"].iter().filter_map(|tag| rest.find(tag)).min() {
        words.push_str(&rest[..start]);
        let body = &rest[start..];
        let end = body.find("</Error>").map_or(body.len(), |end| end + "</Error>".len());
        let told = [element(&body[..end], "Code"), element(&body[..end], "Message")];
        let told: Vec<String> = told.into_iter().flatten().filter(|text| !text.is_empty()).collect();
        if told.is_empty() {
            words.push_str(&body[..end]);
        } else {
            words.push_str(&told.join(": "));
        }
        rest = &body[end..];
    }
    words.push_str(rest);
    cut(words.trim())
}

/// The text of the first element of this name.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, after) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = after.split_once(&format!("</{name}>"))?;
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&amp;", "&")];
    let text =
        entities.iter().fold(text.trim().to_owned(), |text, (entity, plain)| text.replace(entity, plain));
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_becomes_code_and_message_and_the_rest_stays() {
        let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code>\
                   <Message>Access to\n &quot;a&amp;b&quot; denied</Message><RequestId>1</RequestId></Error>";
        for (answer, expected) in [
            (format!("403 Forbidden: {xml}"), "403 Forbidden: AccessDenied: Access to \"a&b\" denied"),
            (
                format!("{xml}: {xml}\n"),
                "AccessDenied: Access to \"a&b\" denied: AccessDenied: Access to \"a&b\" denied",
            ),
            ("403: <Error><Code>SlowDown</Code>".into(), "403: SlowDown"),
            ("403: <Error><Message>cut o".into(), "403: <Error><Message>cut o"),
            ("503: <html>busy</html>".into(), "503: <html>busy</html>"),
            ("connection refused".into(), "connection refused"),
        ] {
            assert_eq!(plain(&answer), expected);
        }
        let long = plain(&"ü".repeat(5000));
        assert!(long.chars().count() == LONGEST + 1 && long.ends_with('…'));
    }
}

//! Recorded decisions, as `lictor flows -o json` prints them and the decision log holds them.

use lictor_model::Record;

/// A line that is no record.
#[derive(Debug, thiserror::Error)]
#[error("{name}:{line}: expected a record as `lictor flows -o json` prints it: {error}")]
pub struct InvalidRecord {
    /// The file.
    pub name: String,
    /// The line, from one.
    pub line: usize,
    /// What is wrong with it.
    pub error: serde_json::Error,
}

/// The records of a text, one a line; empty lines, and those that begin with `#`, are passed over.
///
/// # Errors
/// When a line is no record.
pub fn records(name: &str, text: &str) -> Result<Vec<Record>, InvalidRecord> {
    let lines = (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty() && !text.starts_with('#'));
    lines
        .map(|(line, text)| {
            serde_json::from_str(text).map_err(|error| InvalidRecord { name: name.to_owned(), line, error })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::records;

    #[test]
    fn a_line_that_is_no_record_is_told_by_its_number() {
        let close = r#"{"event":"close","id":1,"time":"1970-01-01T00:00:00Z","bytesSent":0,"bytesReceived":0}"#;
        assert_eq!(records("f", &format!("# a remark\n\n{close}\n")).expect("a record").len(), 1);
        let told = records("f", &format!("{close}\n{{}}\n")).expect_err("no record").to_string();
        assert!(told.starts_with("f:2: expected a record"), "{told}");
    }
}

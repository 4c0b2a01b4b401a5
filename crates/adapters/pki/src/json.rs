//! JSON that everybody reads alike.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Reads a JSON text in which no object has two members of one name, at any depth.
///
/// Which of two equal names counts is left to the reader (RFC 8259, section 4), so that a text with them says one thing
/// to one program and another to the next. RFC 7515, section 4, RFC 7517, section 4, and RFC 7519, section 4, allow to
/// refuse it.
pub(crate) fn read(text: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<Unique>(text).map(|Unique(value)| value)
}

/// As [`read()`], and the text must be an object.
pub(crate) fn read_object(text: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    match read(text)? {
        Value::Object(members) => Ok(members),
        _ => Err(serde_json::Error::custom("expected an object")),
    }
}

struct Unique(Value);

struct Reader;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((name, Unique(value))) = members.next_entry::<String, _>()? {
            if all.insert(name, value).is_some() {
                return Err(A::Error::custom("a member of this object stands there twice"));
            }
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::{read, read_object};

    #[test]
    fn no_name_stands_twice_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"b":{"a":null,"a":1}}]"#] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        let text = r#"{"a":{"a":[true,null,-1,18446744073709551615,1.5,"\u0061"]},"b":{}}"#;
        assert_eq!(
            read(text.as_bytes()).ok().map(|value| value.to_string()).as_deref(),
            Some(&*text.replace(r"\u0061", "a"))
        );
    }

    #[test]
    fn other_texts_are_no_object_and_depth_is_bounded() {
        for text in ["", "[]", "1", "{} {}", "{", "\"a\"", "null", "{\"a\":1e999}", "\u{feff}{}"] {
            assert!(read_object(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read("[".repeat(100_000).as_bytes()).is_err());
        assert!(read_object(b"{\"\xff\":1}").is_err());
    }
}

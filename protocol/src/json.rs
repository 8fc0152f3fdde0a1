//! Flat JSON objects as Go reads them into a struct: keys in any case, `null` like a missing key, unknown
//! keys ignored, the last of two equal keys wins. Which keys there are is said by `identify` and `lookup`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Calls `set` with each key, in lower case, and its value. `null` in place of the object has no keys.
/// An error of the JSON or of `set` ends it; neither says more than that the body is not what it should be.
pub(crate) fn members(
    body: &[u8],
    set: impl FnMut(&str, Value) -> Result<(), WrongType>,
) -> Result<(), WrongType> {
    // Go replaces what is not UTF-8 inside strings; a client's odd host name must not end its session.
    let text = String::from_utf8_lossy(body);
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    deserializer.deserialize_any(Members(set)).map_err(|_| WrongType)?;
    deserializer.end().map_err(|_| WrongType)
}

/// A value of another JSON type than its key has, or text that is no JSON at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrongType;

/// A value, as far as any key of ours can use it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    /// A fraction, a number beyond 64 bits, a list or an object: nothing we have a key for.
    Other,
}

impl Value {
    /// Stores a text; `null` changes nothing.
    pub(crate) fn into_text(self, place: &mut String) -> Result<(), WrongType> {
        match self {
            Self::Null => Ok(()),
            Self::Text(text) => {
                *place = text;
                Ok(())
            }
            _ => Err(WrongType),
        }
    }

    /// Stores an integer that fits its place; `null` changes nothing.
    pub(crate) fn into_int<I: TryFrom<i64>>(self, place: &mut I) -> Result<(), WrongType> {
        match self {
            Self::Null => Ok(()),
            Self::Int(int) => {
                *place = int.try_into().map_err(|_| WrongType)?;
                Ok(())
            }
            _ => Err(WrongType),
        }
    }

    /// Stores a truth value; `null` changes nothing.
    pub(crate) fn into_bool(self, place: &mut bool) -> Result<(), WrongType> {
        match self {
            Self::Null => Ok(()),
            Self::Bool(value) => {
                *place = value;
                Ok(())
            }
            _ => Err(WrongType),
        }
    }
}

struct Members<F>(F);

impl<'de, F: FnMut(&str, Value) -> Result<(), WrongType>> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value()?;
            (self.0)(&key.to_ascii_lowercase(), value).map_err(|_| A::Error::custom("wrong type"))?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Other, Value::Int))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}

//! Flat JSON objects as Go reads them into a struct: keys in any case, `null` like a missing key, unknown
//! keys ignored, the last of two equal keys wins. Which keys there are is said by `identify` and `lookup`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A struct that a JSON object fills.
pub(crate) trait Fields {
    /// Where the value of a key goes, which is in lower case; `None` if there is no such key.
    fn field(&mut self, key: &str) -> Option<Field<'_>>;
}

/// Where a value goes, and of which type it must be.
pub(crate) enum Field<'a> {
    Text(&'a mut String),
    /// Also tells whether it was there.
    GivenText(&'a mut Option<String>),
    Bool(&'a mut bool),
    Int(&'a mut i64),
    Int32(&'a mut i32),
    Port(&'a mut u16),
}

/// Fills the fields from an object; `null` in its place has no keys. An error of the JSON or of a type says no more than
/// that the body is not what it should be.
pub(crate) fn read(body: &[u8], fields: &mut impl Fields) -> Result<(), WrongType> {
    // Go replaces what is not UTF-8 inside strings; a client's odd host name must not end its session.
    let text = String::from_utf8_lossy(body);
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    deserializer.deserialize_any(Members(fields)).map_err(|_| WrongType)?;
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

impl Field<'_> {
    /// Stores a value; `null` changes nothing.
    fn put(self, value: Value) -> Result<(), WrongType> {
        match (self, value) {
            (_, Value::Null) => {}
            (Self::Text(place), Value::Text(text)) => *place = text,
            (Self::GivenText(place), Value::Text(text)) => *place = Some(text),
            (Self::Bool(place), Value::Bool(value)) => *place = value,
            (Self::Int(place), Value::Int(int)) => *place = int,
            (Self::Int32(place), Value::Int(int)) => *place = int.try_into().map_err(|_| WrongType)?,
            (Self::Port(place), Value::Int(int)) => *place = int.try_into().map_err(|_| WrongType)?,
            _ => return Err(WrongType),
        }
        Ok(())
    }
}

struct Members<'f, F>(&'f mut F);

impl<'de, F: Fields> Visitor<'de> for Members<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match self.0.field(&key.to_ascii_lowercase()) {
                Some(field) => field.put(map.next_value()?).map_err(|_| A::Error::custom("wrong type"))?,
                // Go reads over the values of keys it does not know: numbers beyond all range, half surrogates.
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
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

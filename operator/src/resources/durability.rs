//! Durability levels: what the OK to a publish means. A cluster has one for all its topics, and a topic may have
//! its own.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What has happened to a message by the time its publish is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Durability {
    /// It was accepted. It is never synced: a power cut may take anything of the topic.
    Memory,
    /// It survives a killed process. A power cut may take the last 200 ms.
    Buffered,
    /// It is synced: it survives a power cut.
    Fsync,
}

impl Durability {
    /// Every level, the weakest first.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Buffered, Self::Fsync];

    /// As nsqd spells it in flags, queries and `/stats`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Buffered => "buffered",
            Self::Fsync => "fsync",
        }
    }
}

/// By hand, so that each field keeps its own description: with the derived schema, this type's would replace it.
impl JsonSchema for Durability {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Durability".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::ALL })
    }
}

//! YAML values that know where they are written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A YAML value, and the line on which it is written, from 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub line: u64,
    pub content: Content,
}

/// The content of a [`Node`].
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Null, a boolean, a number or a string.
    Scalar(Value),
    List(Vec<Node>),
    /// The fields in the order in which they are written.
    Map(Vec<Field>),
}

/// A field of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    /// The line of the name, from 1.
    pub line: u64,
    pub value: Node,
}

impl Node {
    /// The field `name`, if this is a map that has it.
    pub fn field(&self, name: &str) -> Option<&Field> {
        match &self.content {
            Content::Map(fields) => fields.iter().find(|field| field.name == name),
            Content::List(_) | Content::Scalar(_) => None,
        }
    }

    /// The text of the field `name`, if this is a map and the field a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        match &self.field(name)?.value.content {
            Content::Scalar(value) => value.as_str(),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// The value without its lines.
    pub fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => items.iter().map(Self::to_value).collect(),
            Content::Map(fields) => {
                let members = fields.iter().map(|field| (field.name.clone(), field.value.to_value()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }

    /// The line of the field at `path`, such as `spec.request.types[0]`, or of the innermost part of it that is
    /// written.
    pub fn line_of(&self, path: &str) -> u64 {
        let (mut line, mut node) = (self.line, self);
        for step in path.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
            let next = match &node.content {
                Content::Map(_) => node.field(step).map(|field| (field.line, &field.value)),
                Content::List(items) => {
                    step.parse().ok().and_then(|index: usize| items.get(index)).map(|item| (item.line, item))
                }
                Content::Scalar(_) => None,
            };
            let Some(found) = next else { break };
            (line, node) = found;
        }
        line
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self { line: spanned.referenced.line(), content: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

/// Takes any YAML value.
struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Content;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Content, E> {
        self.visit_unit()
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Content, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number that is not finite"))?;
        Ok(Content::Scalar(Value::Number(number)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = map.next_entry::<Spanned<String>, Node>()? {
            fields.push(Field { line: name.referenced.line(), name: name.value, value });
        }
        Ok(Content::Map(fields))
    }
}

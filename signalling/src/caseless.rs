//! Keys of JSON objects in any case, as Go's reader takes them: whoever moves files from a Galene
//! server here may have written `"Public"`, and it worked.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

/// Reads a structure from a map whose keys may be in any case. A key that is spelt as the
/// structure's own is that one.
pub struct Caseless<A>(pub A);

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Caseless<A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_map(self.0)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        visitor.visit_map(Keys { map: self.0, fields })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Keys<A> {
    map: A,
    fields: &'static [&'static str],
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Keys<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let Some(key) = self.map.next_key::<String>()? else {
            return Ok(None);
        };
        let key = field_of(&key, self.fields);
        seed.deserialize(of_str(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

fn of_str<E: Error>(key: &str) -> StrDeserializer<'_, E> {
    serde::de::IntoDeserializer::into_deserializer(key)
}

/// The name among `known` that a key means, or the key itself.
pub(crate) fn field_of<'a>(key: &'a str, known: &[&'static str]) -> &'a str {
    let is_spelt = |name: &&&str| **name == key;
    let folded = |name: &&&str| name.eq_ignore_ascii_case(key);
    known.iter().find(is_spelt).or_else(|| known.iter().find(folded)).map_or(key, |name| *name)
}

/// The value under a key in any case.
pub(crate) fn get<'a>(
    object: &'a serde_json::Map<String, serde_json::Value>,
    name: &str,
) -> Option<&'a serde_json::Value> {
    let folded = || object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    object.get(name).or_else(|| folded().map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use crate::parse_description;

    #[test]
    fn keys_of_any_case_are_read_at_every_depth() {
        let text = br#"{"Public":true,"DISPLAYNAME":"D","Max-Clients":3,"authkeys":[],
            "Users":{"Ann":{"Password":{"Type":"plain","KEY":"x"},"Permissions":"op"}},
            "wildcard-User":{"password":{"type":"wildcard"}}}"#;
        let (description, warnings) = parse_description("g.json", text).unwrap();
        assert_eq!(warnings, [""; 0]);
        assert!(description.listing.is_public && description.is_named("Ann"));
        assert_eq!(description.listing.display_name, "D");
        assert_eq!(description.clients_max, Some(3));
        // Names of people are no keys.
        assert!(!description.is_named("ann"));
        let error = parse_description("g.json", b"{\n\"Pubic\":true}").unwrap_err().to_string();
        assert!(error.contains("g.json:2") && error.contains("\"public\""), "{error}");
    }
}

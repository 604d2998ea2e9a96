//! JSON objects that must be objects. Serde's derived readers also take an array of a structure's
//! fields in order, so that `["secret", "op"]` would be a user, and `[]` a group.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// For `deserialize_with`: a null is as good as no key.
pub fn null_as_default<'de, D, T>(reader: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(reader).map(Option::unwrap_or_default)
}

/// For `deserialize_with`: of an object null, and each of its values that is.
pub fn nulls_as_defaults<'de, D, T>(reader: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    let found = Option::<BTreeMap<String, Option<T>>>::deserialize(reader)?.unwrap_or_default();
    Ok(found.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// For `deserialize_with`: a list that may be null, without the elements that are.
pub fn without_nulls<'de, D, T>(reader: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let found = Option::<Vec<Option<T>>>::deserialize(reader)?.unwrap_or_default();
    Ok(found.into_iter().flatten().collect())
}

/// Makes types that derive `Deserialize` with `#[serde(remote = "Self")]` readable from objects
/// only, by their keys in any case or, with `exact:`, as they stand; behind a semicolon, those that derive `Serialize` with it as well. Read them with
/// `serde_json::from_str` and its like: a bare `Name::deserialize` is the derived function.
#[macro_export]
macro_rules! only_objects {
    (exact: $($read:ident),*) => {
        $($crate::only_objects!(
            @read $read, |map| serde::de::value::MapAccessDeserializer::new(map)
        );)*
    };
    ($($read:ident),* $(; $($written:ident),*)?) => {
        $($crate::only_objects!(@read $read);)*
        $($($crate::only_objects!(@read $written); $crate::only_objects!(@write $written);)*)?
    };
    (@read $name:ident) => {
        $crate::only_objects!(@read $name, |map| $crate::caseless::Caseless(map));
    };
    (@read $name:ident, |$map:ident| $reader:expr) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
                struct OfObject;
                impl<'de> serde::de::Visitor<'de> for OfObject {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        $map: A,
                    ) -> Result<$name, A::Error> {
                        // The derived function: those of the type itself come before a trait's.
                        $name::deserialize($reader)
                    }
                }
                reader.deserialize_map(OfObject)
            }
        }
    };
    (@write $name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
                $name::serialize(self, writer)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Deserialize, Serialize, PartialEq, Eq, Debug, Default)]
    #[serde(remote = "Self", default, deny_unknown_fields)]
    struct Pair {
        left: String,
        right: String,
    }
    crate::only_objects!(; Pair);

    #[test]
    fn arrays_are_no_objects() {
        let read = serde_json::from_str::<Pair>;
        let pair = Pair { left: "a".to_owned(), right: String::new() };
        assert_eq!(read(r#"{"left":"a"}"#).unwrap(), pair);
        assert_eq!(serde_json::to_string(&pair).unwrap(), r#"{"left":"a","right":""}"#);
        for bad in ["[]", r#"["a","b"]"#, "\"a\"", "null", "3"] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("expected an object"), "{bad}: {error}");
        }
        let error = read("{\n\"up\":1}").unwrap_err();
        assert!(error.to_string().contains("unknown field `up`") && error.line() == 2, "{error}");
    }
}

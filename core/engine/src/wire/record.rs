use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::Str;
use super::text::push_string;
use super::{DecodeError, ErrorCode, validate_json};

/// With more fields than this a patch looks them up by an index.
const LINEAR: usize = 16;

/// A record of a collection, or a patch of one: the fields of a JSON object in the order of their first appearance, each once
/// with its last value. Values are the bytes that came, so that all replicas hold equal bytes (section 14 of the specification).
///
/// ```
/// use realtime_engine::wire::Record;
///
/// let mut record = Record::parse(br#"{ "id": "a", "done": false }"#)?;
/// record.patch(&Record::parse(br#"{"done":true,"n":1.0}"#)?);
/// assert_eq!(record.encode(), br#"{"id":"a","done":true,"n":1.0}"#);
/// assert_eq!(record.id(), Some("a".into()));
/// # Ok::<(), realtime_engine::wire::DecodeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    fields: Vec<(Cow<'a, str>, &'a [u8])>,
}

impl<'a> Record<'a> {
    /// Reads a JSON object. `invalid_record` for anything else; what is no valid payload is `malformed`.
    pub fn parse(json: &'a [u8]) -> Result<Self, DecodeError> {
        validate_json(json)?;
        Self::parse_validated(json)
    }

    /// The same for what came as a `payload` or `record`, whose nesting a server has bounded.
    pub fn parse_validated(json: &'a [u8]) -> Result<Self, DecodeError> {
        let invalid = |reason: String| DecodeError { code: ErrorCode::InvalidRecord, reason, id: None };
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(invalid("a record must be a JSON object".into()));
        }
        // Fails for names that are no text, and for what a server that breaks the protocol passes off as JSON.
        let fields: Vec<_> =
            serde_json::from_slice::<Fields<'a>>(json).map_err(|e| invalid(format!("not a record: {e}")))?.0;
        let mut record = Record { fields: Vec::with_capacity(fields.len()) };
        record.merge(fields);
        Ok(record)
    }

    /// Replaces the fields that `patch` has, in place, and appends the new ones.
    pub fn patch(&mut self, patch: &Record<'a>) {
        self.merge(patch.fields.clone());
    }

    /// Appends the one form that this record has: `{"name":value,…}` without spaces between them.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, (name, value)) in self.fields.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            push_string(out, name);
            out.push(b':');
            out.extend_from_slice(value);
        }
        out.push(b'}');
    }

    /// The one form that this record has.
    pub fn encode(&self) -> Vec<u8> {
        let size = self.fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
        let mut out = Vec::with_capacity(size + 2);
        self.encode_into(&mut out);
        out
    }

    /// The field `id`, where it is a string.
    pub fn id(&self) -> Option<Cow<'a, str>> {
        serde_json::from_slice::<Str<'a>>(self.field("id")?).ok().map(|id| id.0)
    }

    /// The value of a field, as JSON.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| *value)
    }

    /// The fields in their order; the values are JSON.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&str, &'a [u8])> {
        self.fields.iter().map(|(name, value)| (&**name, *value))
    }

    /// Adds a field before all others, where there is none with this name; `value` must be JSON.
    pub fn put_first(&mut self, name: &'a str, value: &'a [u8]) {
        if self.field(name).is_none() {
            self.fields.insert(0, (Cow::Borrowed(name), value));
        }
    }

    fn merge(&mut self, fields: Vec<(Cow<'a, str>, &'a [u8])>) {
        if self.fields.len() + fields.len() <= LINEAR {
            for (name, value) in fields {
                match self.fields.iter_mut().find(|(field, _)| *field == name) {
                    Some(field) => field.1 = value,
                    None => self.fields.push((name, value)),
                }
            }
            return;
        }
        let mut places: HashMap<Cow<'a, str>, usize> =
            self.fields.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        for (name, value) in fields {
            let place = *places.entry(name.clone()).or_insert(self.fields.len());
            match self.fields.get_mut(place) {
                Some(field) => field.1 = value,
                None => self.fields.push((name, value)),
            }
        }
    }
}

/// The fields as they come, also those that come twice.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a [u8])>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry::<Str<'de>, &'de RawValue>()? {
                    fields.push((name.0, value.get().as_bytes()));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(json: &str) -> String {
        String::from_utf8(Record::parse(json.as_bytes()).unwrap().encode()).unwrap()
    }

    fn patched(record: &str, patch: &str) -> String {
        let mut record = Record::parse(record.as_bytes()).unwrap();
        record.patch(&Record::parse(patch.as_bytes()).unwrap());
        String::from_utf8(record.encode()).unwrap()
    }

    #[test]
    fn a_record_has_one_form() {
        assert_eq!(canonical(" { } "), "{}");
        assert_eq!(canonical("{ \"id\" :\t1.50 ,\"a\": [ 1, 2 ] }"), "{\"id\":1.50,\"a\":[ 1, 2 ]}");
        assert_eq!(canonical(r#"{"a":1,"b":2,"a":3}"#), r#"{"a":3,"b":2}"#);
        assert_eq!(canonical(r#"{"\u0061":1,"a":2}"#), r#"{"a":2}"#);
        assert_eq!(canonical(r#"{"\u00e9\/\u2028\ud83c\udf88":1}"#), "{\"é/\u{2028}🎈\":1}");
        assert_eq!(
            canonical(r#"{"\u0008\u0009\u000a\u000c\u000d\u0022\u005c\u0000\u001F\u007f":1}"#),
            "{\"\\b\\t\\n\\f\\r\\\"\\\\\\u0000\\u001f\u{7f}\":1}"
        );
        assert_eq!(canonical(r#"{"__proto__":{"x":1},"":2}"#), r#"{"__proto__":{"x":1},"":2}"#);
    }

    #[test]
    fn a_patch_replaces_in_place_and_appends() {
        assert_eq!(
            patched(r#"{"id":"a","n":1,"m":2}"#, r#"{"new":null,"n":{"x":1}}"#),
            r#"{"id":"a","n":{"x":1},"m":2,"new":null}"#
        );
        assert_eq!(patched("{}", "{}"), "{}");
    }

    #[test]
    fn what_is_no_object_is_no_record() {
        for bad in ["[]", "1", "null", "\"{}\"", r#"{"\ud800":1}"#] {
            assert_eq!(Record::parse(bad.as_bytes()).unwrap_err().code, ErrorCode::InvalidRecord, "{bad}");
        }
        for bad in ["", "{", "{}{}", "{\"a\":\n1}"] {
            assert_eq!(Record::parse(bad.as_bytes()).unwrap_err().code, ErrorCode::Malformed, "{bad}");
        }
    }

    #[test]
    fn only_a_string_is_an_id() {
        let id = |json: &str| Record::parse(json.as_bytes()).unwrap().id().map(Cow::into_owned);
        assert_eq!(id(r#"{"id":"\u0061b"}"#).as_deref(), Some("ab"));
        for none in ["{}", r#"{"id":1}"#, r#"{"id":null}"#, r#"{"id":["a"]}"#, r#"{"id":"\ud800"}"#] {
            assert_eq!(id(none), None, "{none}");
        }
    }

    proptest! {
        /// The index of large records decides as the search of small ones does.
        #[test]
        fn patching_is_the_same_at_every_size(
            record in proptest::collection::vec((0..40u8, 0..9u8), 0..60),
            patch in proptest::collection::vec((0..40u8, 0..9u8), 0..60),
        ) {
            let json = |fields: &[(u8, u8)]| {
                let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"f{name}\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            };
            let mut expected: Vec<(u8, u8)> = vec![];
            for (name, value) in record.iter().chain(&patch) {
                match expected.iter_mut().find(|field| field.0 == *name) {
                    Some(field) => field.1 = *value,
                    None => expected.push((*name, *value)),
                }
            }
            prop_assert_eq!(patched(&json(&record), &json(&patch)), json(&expected));
        }

        #[test]
        fn the_one_form_is_read_as_itself(names in proptest::collection::vec(any::<String>(), 0..20)) {
            let fields: Vec<_> = names.iter().map(|name| format!("{}:1", serde_json::to_string(name).unwrap())).collect();
            let once = canonical(&format!("{{{}}}", fields.join(" , ")));
            prop_assert_eq!(canonical(&once), once.clone());
            let value: serde_json::Value = serde_json::from_str(&once).unwrap();
            prop_assert!(names.iter().all(|name| value[name] == 1));
        }
    }
}

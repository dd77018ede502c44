//! Explains errors of postcard in terms of serde.

/// Why postcard could not write or read a value.
pub(crate) fn reason(error: postcard::Error) -> String {
    use postcard::Error as E;
    match error {
        E::WontImplement | E::NotYetImplemented | E::SerializeSeqLengthUnknown => {
            "it needs more than the format between processes offers: serde's `untagged`, `tag`, \
             `flatten` and sequences of unknown length do not work"
        }
        E::SerdeSerCustom | E::SerdeDeCustom => {
            "its own implementation of serde refused it (the text of its error is not kept)"
        }
        E::DeserializeUnexpectedEnd => {
            "its bytes end too early: what `Serialize` writes is not what `Deserialize` reads; \
             serde's `skip_serializing_if` and `skip_serializing` without `skip` do that"
        }
        other => return other.to_string(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[test]
    fn what_the_format_lacks_is_named() {
        struct Unknown;
        impl Serialize for Unknown {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_seq(std::iter::from_fn(|| None::<u8>))
            }
        }
        let error = postcard::to_stdvec(&Unknown).unwrap_err();
        assert!(reason(error).contains("`flatten`"));
        let error = postcard::from_bytes::<serde_json::Value>(&[1]).unwrap_err();
        assert!(reason(error).contains("`untagged`"));
    }

    #[test]
    fn bytes_that_end_early_point_to_the_two_ends_of_serde() {
        let error = postcard::from_bytes::<(u8, u8)>(&[1]).unwrap_err();
        assert!(reason(error).contains("`skip_serializing_if`"));
    }
}

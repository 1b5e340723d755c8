use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use vocabulary::ids::{Project, QualityModel};
use vocabulary::source::Source;

use super::*;

/// Payloads of every size that matters: none, small, and on both sides of where compression begins; some
/// that compress well and some that do not.
fn payload() -> impl Strategy<Value = Bytes> {
    let size = prop_oneof![4 => 0..2_000_usize, 1 => COMPRESS_OVER - 2..COMPRESS_OVER + 3, 1 => COMPRESS_OVER..2 * COMPRESS_OVER];
    (size, vec(any::<u8>(), 1..300), any::<u64>(), any::<bool>()).prop_map(|(size, pattern, seed, noise)| {
        let mut random = seed;
        let bytes = pattern.into_iter().cycle().take(size).map(|byte| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if noise { byte ^ random.to_be_bytes()[0] } else { byte }
        });
        bytes.collect::<Vec<u8>>().into()
    })
}

prop_compose! {
    fn envelope()(
        source in prop::sample::select(Source::ALL.to_vec()),
        project in "[A-Za-z0-9_-]{1,64}",
        event in "[a-z_]{1,30}",
        delivery in "[!-~]{1,80}",
        quality_model in option::of("[A-Za-z0-9_-]{1,64}"),
        // From 1970 to 2100.
        received_at in 0..4_102_444_800_000_i64,
        traceparent in option::of("00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]"),
        origin_sequence in option::of(any::<u64>()),
        read_at in proptest::option::of(0..4_000_000_000_000_i64),
        payload in payload(),
    ) -> Envelope {
        Envelope {
            source,
            project: Project::new(&project).unwrap(),
            event,
            delivery,
            quality_model: quality_model.map(|name| QualityModel::new(&name).unwrap()),
            received_at,
            traceparent,
            origin_sequence,
            read_at,
            payload,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn what_was_encoded_decodes_to_the_same(envelope in envelope()) {
        let (headers, wire) = encode(&envelope);
        prop_assert_eq!(headers.get(header::ENCODING).is_some(), envelope.payload.len() > COMPRESS_OVER);
        let decoded = decode(&headers, &wire);
        prop_assert!(decoded.is_ok(), "{:?}", decoded.err());
        // Compared piece by piece, because a difference within half a megabyte is not readable.
        let decoded = decoded.unwrap();
        prop_assert!(decoded.payload == envelope.payload, "the payload came back otherwise");
        prop_assert_eq!(Envelope { payload: Bytes::new(), ..decoded }, Envelope { payload: Bytes::new(), ..envelope });
    }
}

fn example() -> Envelope {
    Envelope {
        source: Source::Taiga,
        project: Project::new("TeamA").unwrap(),
        event: "userstory".into(),
        delivery: "4f0c".into(),
        quality_model: None,
        received_at: 1_795_455_723_511,
        traceparent: None,
        origin_sequence: None,
        read_at: None,
        payload: r#"{"type":"userstory"}"#.into(),
    }
}

/// Decodes the example with one header set, or taken away.
fn decode_with(name: &'static str, value: Option<&str>) -> Result<Envelope, DecodeError> {
    let (headers, payload) = encode(&example());
    let mut changed = HeaderMap::new();
    for (other, values) in headers.iter().filter(|(other, _)| AsRef::<str>::as_ref(*other) != name) {
        values.iter().for_each(|value| changed.append(other.clone(), value.clone()));
    }
    if let Some(value) = value {
        changed.insert(name, value);
    }
    decode(&changed, &payload)
}

#[test]
fn the_example_of_the_wire_format_is_what_is_written() {
    let (headers, payload) = encode(&example());
    let shown = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    assert_eq!(shown(header::MSG_ID).as_deref(), Some("taiga:TeamA:4f0c"));
    assert_eq!(shown(header::VERSION).as_deref(), Some("1"));
    assert_eq!(shown(header::RECEIVED_AT).as_deref(), Some("2026-11-23T17:42:03.511Z"));
    for absent in [header::QUALITY_MODEL, header::TRACEPARENT, header::ORIGIN_SEQUENCE, header::ENCODING] {
        assert_eq!(shown(absent), None, "{absent}");
    }
    assert_eq!(payload, example().payload);
}

#[test]
fn a_compressed_payload_keeps_no_larger_buffer() {
    let payload = Bytes::from(vec![b' '; 4 * COMPRESS_OVER]);
    let packed = pack(&Envelope { payload, ..example() });
    let length = packed.bytes.len();
    assert_eq!(packed.bytes.try_into_mut().unwrap().capacity(), length);
}

#[test]
fn a_header_that_every_envelope_has_must_be_there() {
    let needed =
        [header::VERSION, header::SOURCE, header::PROJECT, header::EVENT, header::DELIVERY, header::RECEIVED_AT];
    for name in needed {
        let error = decode_with(name, None).unwrap_err();
        assert!(matches!(error, DecodeError::Missing(missing) if missing == name), "{name}: {error}");
    }
    // The server may drop it, and no reader needs it.
    assert_eq!(decode_with(header::MSG_ID, None).unwrap(), example());
}

#[test]
fn another_version_is_refused_and_not_misread() {
    for version in ["0", "2", "1.0", ""] {
        assert!(matches!(decode_with(header::VERSION, Some(version)), Err(DecodeError::Version)), "{version:?}");
    }
}

#[test]
fn a_name_outside_its_alphabet_is_refused() {
    let cases = [(header::SOURCE, "gitlab"), (header::PROJECT, "Team A"), (header::QUALITY_MODEL, "")];
    for (header, value) in cases {
        let error = decode_with(header, Some(value)).unwrap_err();
        assert!(matches!(error, DecodeError::Name { name, .. } if name == header), "{header}: {error}");
    }
}

#[test]
fn a_time_or_a_sequence_that_is_none_is_refused() {
    for (header, value) in [
        (header::RECEIVED_AT, "yesterday"),
        (header::ORIGIN_SEQUENCE, "-1"),
        (header::ORIGIN_SEQUENCE, "18446744073709551616"),
    ] {
        let error = decode_with(header, Some(value)).unwrap_err();
        assert!(matches!(error, DecodeError::Unreadable(name) if name == header), "{header}: {error}");
    }
}

#[test]
fn an_encoding_that_ingress_does_not_write_is_refused() {
    assert!(matches!(decode_with(header::ENCODING, Some("gzip")), Err(DecodeError::Encoding)));
}

#[test]
fn a_damaged_frame_is_refused() {
    let large = Envelope { payload: vec![b' '; COMPRESS_OVER + 1].into(), ..example() };
    let (headers, frame) = encode(&large);
    for damaged in [frame.slice(..frame.len() - 1), Bytes::from_static(b"{}"), frame.slice(1..)] {
        let error = decode(&headers, &damaged).unwrap_err();
        assert!(matches!(error, DecodeError::Compression(_)), "{error}");
    }
}

#[test]
fn a_frame_that_unpacks_to_more_than_ingress_accepts_is_refused() {
    let unpacked = |size: usize| {
        let bomb = Envelope { payload: vec![0; size].into(), ..example() };
        let (headers, frame) = encode(&bomb);
        decode(&headers, &frame).map(|envelope| envelope.payload.len())
    };
    assert_eq!(unpacked(MAX_PAYLOAD).unwrap(), MAX_PAYLOAD);
    let error = unpacked(MAX_PAYLOAD + 1).unwrap_err();
    assert!(matches!(&error, DecodeError::Compression(why) if why.to_string().contains("25 MiB")), "{error}");
}

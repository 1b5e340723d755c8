//! Arrows between packages point one way.

use crate::repository::{Packages, built_with, product};

/// Each package of the product with the packages of the product that it may name.
const MAY_NAME: [(&str, &[&str]); 9] = [
    ("vocabulary", &[]),
    ("shared", &["vocabulary"]),
    ("ingress", &["shared"]),
    ("worker-event", &["vocabulary"]),
    ("worker-providers", &["shared", "worker-event"]),
    ("worker-core", &["shared", "worker-event", "worker-providers"]),
    ("worker-reconcile", &["shared", "worker-event", "worker-providers", "worker-core"]),
    ("worker-admin", &["shared", "worker-event", "worker-providers", "worker-core", "worker-reconcile"]),
    ("worker", &["shared", "worker-event", "worker-providers", "worker-core", "worker-reconcile", "worker-admin"]),
];

/// Crates that a package must not name: what it cannot name it cannot use.
const MUST_NOT_NAME: [(&str, &[&str]); 2] = [
    // `normalise` is a function: no clock, no client, no log.
    ("worker-event", &["axum", "metrics", "mongodb", "reqwest", "tokio", "tracing"]),
    ("shared", &["bson", "mongodb"]),
];

/// Crates that a package must not even be built with.
const MUST_NOT_HOLD: [(&str, &[&str]); 5] = [
    // The meaning of an event needs no runtime, no database and no client, and compiles without them.
    ("worker-event", &["async-nats", "axum", "mongodb", "reqwest", "tokio", "tracing"]),
    ("ingress", &["bson", "mongodb", "aws-lc-rs", "harness"]),
    // One TLS provider is enough, and it is ring.
    ("worker", &["ingress", "aws-lc-rs", "harness"]),
    ("shared", &["bson", "mongodb"]),
    // `cargo dev` is the first build after a clone.
    ("dev", &["hdrhistogram", "opentelemetry-proto", "proptest", "prost", "rcgen", "shared"]),
];

/// What is wrong with the arrows between packages.
fn wrong_arrows(packages: &Packages) -> Vec<String> {
    let mut wrong = Vec::new();
    for (package, names) in packages {
        let Some((_, may_name)) = MAY_NAME.iter().find(|(name, _)| name == package) else {
            wrong.push(format!("{package} has no place among the layers"));
            continue;
        };
        let ours = names.iter().filter(|name| packages.contains_key(*name));
        wrong.extend(ours.filter(|name| !may_name.contains(&name.as_str())).map(|name| format!("{package} → {name}")));
        let (_, must_not) = MUST_NOT_NAME.iter().find(|(name, _)| name == package).copied().unwrap_or_default();
        wrong.extend(must_not.iter().filter(|name| names.contains(**name)).map(|name| format!("{package} → {name}")));
    }
    let missing = MAY_NAME.iter().filter(|(name, _)| !packages.contains_key(*name));
    wrong.extend(missing.map(|(name, _)| format!("there is no package {name}")));
    wrong
}

#[test]
fn every_package_names_only_packages_below_it() {
    let packages = product();
    assert_eq!(wrong_arrows(&packages), [""; 0]);

    let planted = |package: &str, name: &str| {
        let mut packages = packages.clone();
        packages.entry(package.to_owned()).or_default().insert(name.to_owned());
        wrong_arrows(&packages)
    };
    assert_eq!(planted("worker-event", "worker-core"), ["worker-event → worker-core"]);
    assert_eq!(planted("worker-core", "worker-admin"), ["worker-core → worker-admin"]);
    assert_eq!(planted("ingress", "worker-event"), ["ingress → worker-event"]);
    assert_eq!(planted("worker-event", "tokio"), ["worker-event → tokio"]);
    assert_eq!(planted("worker-new", "shared"), ["worker-new has no place among the layers"]);
}

#[test]
fn no_package_is_built_with_what_belongs_to_another() {
    for (package, must_not) in MUST_NOT_HOLD {
        let holds = built_with(package);
        for name in must_not {
            assert!(!holds.contains(*name), "{package} is built with {name}: cargo tree -p {package} -i {name}");
        }
    }
    // `cargo dev` compiles it first, and only then the rest, all at once.
    assert_eq!(built_with("launch").into_iter().collect::<Vec<_>>(), ["launch"]);
    // The list is read as meant: these are there.
    assert!(built_with("ingress").contains("async-nats") && built_with("worker").contains("mongodb"));
    assert!(built_with("worker-event").contains("bson") && built_with("dev").contains("harness"));
}

//! Formats of texts that JSON schemas name, beyond those of llguidance, and dates that are days of a calendar.

/// Years from 1 to 9999.
macro_rules! year {
    () => {
        "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
    };
}
/// Years with a 29 February: those by four, but of the hundreds only those by four hundred.
macro_rules! leap_year {
    () => {
        "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
    };
}
macro_rules! date {
    () => {
        concat!(
            "(",
            year!(),
            "-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|",
            leap_year!(),
            "-02-29)"
        )
    };
}
macro_rules! time {
    () => {
        "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
    };
}
macro_rules! uuid {
    ($version:expr) => {
        concat!(
            "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-",
            $version,
            "[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
        )
    };
}
macro_rules! byte {
    () => {
        "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    };
}
macro_rules! ipv4 {
    () => {
        concat!("(", byte!(), "\\.){3}", byte!())
    };
}
macro_rules! ipv6 {
    () => {
        "([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}"
    };
}
macro_rules! email {
    () => {
        "[a-zA-Z0-9]+([._+-][a-zA-Z0-9]+)*@[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*(\\.[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*)*\\.[a-zA-Z]{2,24}"
    };
}

/// The expression of a format, none where it says nothing of the text.
type Format = (&'static str, Option<&'static str>);

/// JSON schema's own that llguidance takes too widely, and those of pydantic and OpenAPI. Some let through less than
/// their names allow, none lets through more.
const FORMATS: [Format; 30] = [
    ("date", Some(date!())),
    ("date-time", Some(concat!(date!(), "T", time!()))),
    ("time", Some(time!())),
    ("email", Some(email!())),
    ("idn-email", Some(email!())),
    (
        "name-email",
        Some(concat!("[A-Za-z]+( [A-Za-z]+)* <", email!(), ">")),
    ),
    ("uuid1", Some(uuid!("1"))),
    ("uuid3", Some(uuid!("3"))),
    ("uuid4", Some(uuid!("4"))),
    ("uuid5", Some(uuid!("5"))),
    ("uuid6", Some(uuid!("6"))),
    ("uuid7", Some(uuid!("7"))),
    ("uuid8", Some(uuid!("8"))),
    ("ipvanyaddress", Some(concat!(ipv4!(), "|", ipv6!()))),
    (
        "ipvanyinterface",
        Some(concat!(
            ipv4!(),
            "/(3[0-2]|[12]?[0-9])|",
            ipv6!(),
            "/(12[0-8]|1[01][0-9]|[1-9]?[0-9])"
        )),
    ),
    (
        "ipv4interface",
        Some(concat!(ipv4!(), "/(3[0-2]|[12]?[0-9])")),
    ),
    (
        "ipv6interface",
        Some(concat!(ipv6!(), "/(12[0-8]|1[01][0-9]|[1-9]?[0-9])")),
    ),
    // A network has no bits of a host: those of one address.
    (
        "ipvanynetwork",
        Some(concat!(ipv4!(), "/32|", ipv6!(), "/128")),
    ),
    ("ipv4network", Some(concat!(ipv4!(), "/32"))),
    ("ipv6network", Some(concat!(ipv6!(), "/128"))),
    (
        "multi-host-uri",
        Some(
            "[a-z][a-z0-9+.-]*://[a-z0-9.-]+(:[0-9]{1,4})?(,[a-z0-9.-]+(:[0-9]{1,4})?)*(/[a-zA-Z0-9._~-]*)*",
        ),
    ),
    (
        "base64",
        Some("([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?"),
    ),
    (
        "base64url",
        Some("([A-Za-z0-9_-]{4})*([A-Za-z0-9_-][AQgw]==|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048]=)?"),
    ),
    (
        "byte",
        Some("([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?"),
    ),
    ("decimal", Some("-?(0|[1-9][0-9]*)(\\.[0-9]+)?")),
    ("binary", None),
    ("path", None),
    ("file-path", None),
    ("directory-path", None),
    ("password", None),
];

/// What a format asks of a text: nothing for one that is not here.
pub(super) fn find(name: &str) -> Option<Option<&'static str>> {
    let found = FORMATS.iter().find(|f| f.0 == name);
    found.map(|f| f.1)
}

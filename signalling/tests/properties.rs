//! What holds for all names, tokens and group files: parse, print, parse again. The inputs come
//! from a generator with a fixed seed, so that a failure can be repeated.

use aws_lc_rs::hmac;
use serde_json::{Map, Value, json};
use signalling::base64::{decode, decode_url, encode, encode_url};
use signalling::jwt::{Audience, verify};
use signalling::{
    Document, GroupName, Key, Token, UnixMs, Username, Who, encode_path, parse_description,
    percent_decode,
};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    /// Text of characters that names, URLs and JSON stumble over.
    fn text(&mut self, length: usize) -> String {
        const CHARS: [char; 24] = [
            'a', 'B', '7', '/', '.', '\\', ' ', '%', '"', '\0', '\n', '-', '~', '?', '#', 'ü', 'ß',
            '\u{202e}', '\u{200f}', '日', '😀', '+', '\'', '\u{7f}',
        ];
        (0..self.below(length + 1)).map(|_| *self.pick(&CHARS)).collect()
    }

    fn word(&mut self) -> String {
        const CHARS: [char; 12] = ['a', 'b', 'x', 'Z', '0', '9', '-', '_', ' ', 'ü', '日', '%'];
        (0..=self.below(8)).map(|_| *self.pick(&CHARS)).collect()
    }

    fn date(&mut self) -> UnixMs {
        UnixMs((self.next() % 4_000_000_000_000) as i64)
    }
}

#[test]
fn names_stay_inside_and_survive_urls() {
    let mut random = Random(1);
    let mut good = 0;
    for _ in 0..200_000 {
        let text = random.text(8);
        assert_eq!(percent_decode(&encode_path(&text)).as_deref(), Some(text.as_str()));
        if let Ok(user) = Username::parse(&text) {
            assert_eq!(user.as_str(), text);
        }
        let Ok(name) = GroupName::parse(&text) else {
            continue;
        };
        good += 1;
        assert_eq!(GroupName::parse(name.as_str()), Ok(name.clone()));
        let path = name.file_path();
        let parts: Vec<&str> = path.split('/').collect();
        assert!(parts.iter().all(|part| !part.is_empty() && !part.starts_with('.')), "{path:?}");
        assert!(!path.contains(['\\', '\0', '\n']), "{path:?}");
        if let Some(parent) = name.parent() {
            assert!(name.is_below(&parent) && !parent.is_below(&name));
        }
    }
    assert!(good > 1000, "{good}");
}

#[test]
fn base64_goes_both_ways() {
    let mut random = Random(2);
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..random.below(40)).map(|_| random.next() as u8).collect();
        assert_eq!(decode(&encode(&bytes)), Some(bytes.clone()));
        assert_eq!(decode_url(&encode_url(&bytes)), Some(bytes));
        let text = random.text(8);
        if let Some(bytes) = decode_url(&text) {
            assert_eq!(encode_url(&bytes), text);
        }
    }
}

fn token(random: &mut Random) -> Token {
    Token {
        token: format!("t{}", random.next()),
        group: if random.coin() { String::new() } else { random.word() },
        include_subgroups: random.coin(),
        include_auto_subgroups: random.coin(),
        username: random.coin().then(|| random.word()),
        permissions: (0..random.below(4)).map(|_| random.word()).collect(),
        expires: random.coin().then(|| random.date()),
        not_before: random.coin().then(|| random.date()),
        issued_at: random.coin().then(|| random.date()),
        issued_by: random.coin().then(|| random.word()),
    }
}

#[test]
fn tokens_are_read_as_they_were_written() {
    let mut random = Random(3);
    for _ in 0..20_000 {
        let token = token(&mut random);
        let line = serde_json::to_string(&token).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Token>(&line).unwrap(), token, "{line}");
        // A global one covers what any does; none covers more than that.
        let group = GroupName::parse(&format!("g{}", random.below(3))).unwrap();
        let global = Token { group: String::new(), include_subgroups: true, ..token.clone() };
        assert!(global.covers(&group, &group));
        assert!(
            !token.covers(&group, &group)
                || token.group.is_empty()
                || token.group == group.as_str()
        );
    }
}

fn password(random: &mut Random) -> Value {
    match random.below(4) {
        0 => json!(random.word()),
        1 => json!({"type": "plain", "key": random.word()}),
        2 => json!({"type": "wildcard"}),
        _ => json!({"type": "pbkdf2", "hash": "sha-256", "key": "00ff", "salt": "",
            "iterations": random.below(9) + 1}),
    }
}

fn user(random: &mut Random) -> Value {
    let mut user = json!({});
    if random.coin() {
        user["password"] = password(random);
    }
    if random.coin() {
        let roles = ["op", "present", "message", "observe", "caption", "admin"];
        user["permissions"] = match random.coin() {
            true => json!(random.pick(&roles)),
            false => json!([random.word(), "present"]),
        };
    }
    user
}

fn group_file(random: &mut Random) -> Value {
    let mut file = Map::new();
    let mut maybe = |random: &mut Random, key: &str, value: Value| {
        if random.coin() {
            file.insert(key.to_owned(), value);
        }
    };
    for key in ["displayName", "description", "contact", "comment", "authServer", "authPortal"] {
        let text = random.text(6);
        maybe(random, key, text.into());
    }
    for key in [
        "public",
        "allow-recording",
        "unrestricted-tokens",
        "auto-subgroups",
        "autolock",
        "autokick",
        "allow-subgroups",
        "allow-anonymous",
    ] {
        let value = random.coin();
        maybe(random, key, value.into());
    }
    for key in ["max-clients", "max-history-age"] {
        let value = random.below(100);
        maybe(random, key, value.into());
    }
    for key in ["not-before", "expires"] {
        let value = random.date().to_rfc3339();
        maybe(random, key, value.into());
    }
    let users: Map<String, Value> =
        (0..random.below(4)).map(|_| (random.word(), user(random))).collect();
    maybe(random, "users", users.into());
    let wildcard = user(random);
    maybe(random, "wildcard-user", wildcard);
    for key in ["op", "presenter", "other"] {
        let named = json!([{"username": random.word(), "password": password(random)}, {}]);
        maybe(random, key, named);
    }
    maybe(random, "codecs", json!(["vp8", "opus", "h264"]));
    maybe(random, "redirect", json!("https://x.example/"));
    Value::Object(file)
}

#[test]
fn group_files_mean_the_same_after_editing() {
    let mut random = Random(4);
    let parse = |text: &str| parse_description("g.json", text.as_bytes()).unwrap().0;
    for _ in 0..5_000 {
        let file = group_file(&mut random);
        let text = file.to_string();
        let mut document = Document::parse("g.json", text.as_bytes()).unwrap();
        assert_eq!(parse(&document.to_text()), parse(&text), "{text}");
        let again = Document::parse("g.json", document.to_text().as_bytes()).unwrap();
        assert_eq!(again, document, "upgrading is done once");
        // Reading everything over the API and writing it back changes nothing.
        let before = document.clone();
        document.set_settings(Value::Object(document.settings())).unwrap();
        for name in document.user_names() {
            let who = Who::Named(name);
            let user = document.user(&who).unwrap();
            assert!(!user.contains_key("password"));
            document.set_user(&who, Value::Object(user)).unwrap();
        }
        assert_eq!(document, before, "{text}");
        let settings = Value::Object(document.settings()).to_string();
        assert!(!settings.contains("\"password\"") && !settings.contains("\"users\""));
    }
}

#[test]
fn broken_group_files_name_a_line_and_never_panic() {
    let mut random = Random(5);
    let mut broken = 0;
    for _ in 0..20_000 {
        let mut text = format!("{:#}", group_file(&mut random)).into_bytes();
        for _ in 0..=random.below(3) {
            let at = random.below(text.len());
            match random.below(3) {
                0 => text[at] = random.next() as u8,
                1 => text.truncate(at.max(1)),
                _ => text.insert(at, *random.pick(b"{}[],:\"\\0a\n")),
            }
        }
        let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
        if let Err(error) = parse_description("g.json", &text) {
            broken += 1;
            assert!(error.line <= lines, "{error} of {lines}");
            assert!(error.to_string().starts_with("g.json:"));
        }
    }
    assert!(broken > 1000, "{broken}");
}

#[test]
fn no_change_to_a_signed_token_is_accepted() {
    let secret = [9; 32];
    let jwk = json!({"kty": "oct", "alg": "HS256", "k": encode_url(&secret)});
    let keys = [Key::from_jwk(&jwk).unwrap()];
    let claims = json!({"sub": "ann", "aud": "https://h/group/g/", "exp": 2_000_000_000,
        "permissions": ["present"]});
    let signed = format!(
        "{}.{}",
        encode_url(json!({"alg": "HS256"}).to_string().as_bytes()),
        encode_url(claims.to_string().as_bytes())
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
    let token = format!("{signed}.{}", encode_url(tag.as_ref()));
    let group = GroupName::parse("g").unwrap();
    let check = |token: &str| {
        let audience = Audience { group: &group, host: "", base: "" };
        verify(token, &keys, audience, UnixMs(1_900_000_000_000))
    };
    assert!(check(&token).is_ok());
    let mut random = Random(6);
    for _ in 0..50_000 {
        let mut changed: Vec<char> = token.chars().collect();
        let at = random.below(changed.len());
        match random.below(3) {
            0 => changed[at] = *random.pick(&['A', 'z', '_', '.', '=', '0', 'ü']),
            1 => changed.truncate(at),
            _ => changed.insert(at, *random.pick(&['A', '.', '-', '\0'])),
        }
        let changed: String = changed.into_iter().collect();
        assert_eq!(check(&changed).is_ok(), changed == token, "{changed}");
    }
}

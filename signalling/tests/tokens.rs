//! Tokens: which are good, what they give, and how members make, change and list them.

mod world;

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
    RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa};
use serde_json::{Value, json};
use signalling::base64::encode_url;
use signalling::jwt::{Audience, JwtError, verify};
use signalling::{GroupName, Key, MediaEvent, Token, UnixMs, whip};
use world::{World, kinds};

const NOW: UnixMs = UnixMs(1_800_000_000_000);
const NOW_S: i64 = NOW.0 / 1000;

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A key's JWK, and its private half.
struct Pair {
    alg: &'static str,
    jwk: Value,
    sign: Sign,
}

fn secret(alg: &'static str, algorithm: hmac::Algorithm, bytes: usize) -> Pair {
    let raw = vec![0x5a; bytes];
    let key = hmac::Key::new(algorithm, &raw);
    Pair {
        alg,
        jwk: json!({"kty": "oct", "alg": alg, "k": encode_url(&raw)}),
        sign: Box::new(move |message| hmac::sign(&key, message).as_ref().to_vec()),
    }
}

fn curve(alg: &'static str, crv: &str, algorithm: &'static EcdsaSigningAlgorithm) -> Pair {
    let pair = EcdsaKeyPair::generate(algorithm).expect("a key");
    let point = pair.public_key().as_ref().to_vec();
    let half = (point.len() - 1) / 2;
    let (x, y) = (encode_url(&point[1..1 + half]), encode_url(&point[1 + half..]));
    Pair {
        alg,
        jwk: json!({"kty": "EC", "alg": alg, "crv": crv, "x": x, "y": y}),
        sign: Box::new(move |message| {
            pair.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
        }),
    }
}

fn rsa(alg: &'static str, encoding: &'static dyn RsaEncoding) -> Pair {
    let private = rsa::KeyPair::generate(KeySize::Rsa2048).expect("a key");
    // RFC 8017 A.1.1 in DER: two lengths and a zero before the 256 bytes of the modulus.
    let der = private.public_key().as_ref();
    let (n, e) = (&der[9..265], &der[267..]);
    assert_eq!(e, [1, 0, 1]);
    let jwk = json!({"kty": "RSA", "alg": alg, "n": encode_url(n), "e": encode_url(e)});
    let pair: RsaKeyPair = private;
    Pair {
        alg,
        jwk,
        sign: Box::new(move |message| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
                .expect("a signature");
            signature
        }),
    }
}

fn edwards() -> Pair {
    let pair = Ed25519KeyPair::generate().expect("a key");
    let x = encode_url(pair.public_key().as_ref());
    Pair {
        alg: "EdDSA",
        jwk: json!({"kty": "OKP", "alg": "EdDSA", "crv": "Ed25519", "x": x}),
        sign: Box::new(move |message| pair.sign(message).as_ref().to_vec()),
    }
}

fn pairs() -> Vec<Pair> {
    vec![
        secret("HS256", hmac::HMAC_SHA256, 32),
        secret("HS384", hmac::HMAC_SHA384, 48),
        secret("HS512", hmac::HMAC_SHA512, 64),
        curve("ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
        curve("ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
        rsa("RS256", &RSA_PKCS1_SHA256),
        rsa("PS256", &RSA_PSS_SHA256),
        edwards(),
    ]
}

fn token(header: &Value, claims: &str, sign: &Sign) -> String {
    let signed =
        format!("{}.{}", encode_url(header.to_string().as_bytes()), encode_url(claims.as_bytes()));
    let signature = encode_url(&sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn claims(more: Value) -> Value {
    let mut claims = json!({"sub": "ann", "aud": "https://aula.example:8443/group/test/",
        "permissions": ["present"], "iat": NOW_S, "exp": NOW_S + 60, "iss": "anybody"});
    claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    claims
}

fn key(jwk: &Value) -> Key {
    Key::from_jwk(jwk).expect("a key")
}

fn check(token: &str, keys: &[Key]) -> Result<Vec<String>, JwtError> {
    let group = GroupName::parse("test").expect("a name");
    let audience = Audience { group: &group, host: "aula.example:8443", base: "" };
    verify(token, keys, audience, NOW).map(|grant| grant.permissions)
}

#[test]
fn every_algorithm_signs_and_none_stands_in_for_another() {
    let pairs = pairs();
    let claims = claims(json!({})).to_string();
    for signer in &pairs {
        let header = json!({"alg": signer.alg, "typ": "JWT"});
        let signed = token(&header, &claims, &signer.sign);
        for verifier in &pairs {
            let expected = match verifier.alg == signer.alg {
                true => Ok(vec!["present".to_owned()]),
                false => Err(JwtError::BadSignature),
            };
            assert_eq!(check(&signed, &[key(&verifier.jwk)]), expected, "{}", signer.alg);
            // The header may lie about the algorithm; the key does not follow it.
            let lie = token(&json!({"alg": verifier.alg}), &claims, &signer.sign);
            if verifier.alg != signer.alg {
                assert_eq!(check(&lie, &[key(&verifier.jwk)]), Err(JwtError::BadSignature));
                assert_eq!(check(&lie, &[key(&signer.jwk)]), Err(JwtError::BadSignature));
            }
        }
        let (signed_part, _) = signed.rsplit_once('.').unwrap();
        for crippled in [format!("{signed_part}."), format!("{signed}A"), format!("{signed}AA")] {
            assert_ne!(check(&crippled, &[key(&signer.jwk)]), Ok(vec!["present".to_owned()]));
        }
    }
}

#[test]
fn the_classic_forgeries_are_refused() {
    let pair = rsa("RS256", &RSA_PKCS1_SHA256);
    let claims = claims(json!({})).to_string();
    let keys = [key(&pair.jwk)];
    let nothing: Sign = Box::new(|_| Vec::new());
    for alg in ["none", "None", "NONE", ""] {
        let forged = token(&json!({"alg": alg}), &claims, &nothing);
        assert_eq!(check(&forged, &keys), Err(JwtError::BadSignature), "{alg}");
    }
    // The public key, which everybody knows, as the secret of an HMAC.
    for public in [pair.jwk.to_string(), pair.jwk["n"].as_str().unwrap().to_owned()] {
        let hmac = hmac::Key::new(hmac::HMAC_SHA256, public.as_bytes());
        let sign: Sign = Box::new(move |message| hmac::sign(&hmac, message).as_ref().to_vec());
        let forged = token(&json!({"alg": "HS256"}), &claims, &sign);
        assert_eq!(check(&forged, &keys), Err(JwtError::BadSignature));
    }
    let critical = token(&json!({"alg": "RS256", "crit": ["exp"]}), &claims, &pair.sign);
    assert_eq!(check(&critical, &keys), Err(JwtError::BadClaims));
    // A key that comes with the token is not looked at.
    let own = json!({"alg": "HS256", "jwk": secret("HS256", hmac::HMAC_SHA256, 32).jwk});
    let own = token(&own, &claims, &secret("HS256", hmac::HMAC_SHA256, 32).sign);
    assert_eq!(check(&own, &keys), Err(JwtError::BadSignature));
    assert_eq!(check(&own, &[]), Err(JwtError::BadSignature));
}

#[test]
fn a_key_id_picks_the_key() {
    let pair = secret("HS256", hmac::HMAC_SHA256, 32);
    let mut named = pair.jwk.clone();
    named["kid"] = "one".into();
    let mut numbered = pair.jwk.clone();
    numbered["kid"] = 7.into();
    let claims = claims(json!({})).to_string();
    for (kid, jwk, is_good) in [
        (json!("one"), &named, true),
        (json!("two"), &named, false),
        (Value::Null, &named, true),
        (json!("one"), &pair.jwk, false),
        (json!(""), &named, true),
        (json!(7), &named, true),
        (json!(7), &numbered, true),
        (Value::Null, &numbered, true),
        (json!("7"), &numbered, false),
    ] {
        let signed = token(&json!({"alg": "HS256", "kid": kid}), &claims, &pair.sign);
        assert_eq!(check(&signed, &[key(jwk)]).is_ok(), is_good, "{kid} {jwk}");
    }
}

#[test]
fn times_audience_and_claims_are_checked() {
    let pair = secret("HS256", hmac::HMAC_SHA256, 32);
    let keys = [key(&pair.jwk)];
    let header = json!({"alg": "HS256"});
    let with = |more: Value| check(&token(&header, &claims(more).to_string(), &pair.sign), &keys);
    for good in [
        json!({}),
        json!({"exp": NOW_S - 4}),
        json!({"exp": NOW_S as f64 + 0.5}),
        json!({"nbf": NOW_S + 5, "iat": NOW_S + 5}),
        json!({"iat": null, "nbf": null, "sub": null}),
        // A signer's own claims, which are no others (RFC 7519 s4).
        json!({"Sub": "zed", "Permissions": {"a": 1}, "Aud": 3, "Nbf": "x", "IAT": "2020"}),
        json!({"aud": ["https://x/", "https://aula.example:8443/group/test/"]}),
        json!({"aud": "https://AULA.example:8443/group/test/?x#y"}),
        json!({"aud": "https://aula.example:8443/group/t%65st/"}),
        json!({"aud": "https://aula.example:8443/group/", "include-subgroups": true}),
        json!({"aud": "//aula.example:8443/group/test/", "include-subgroups": "yes"}),
        json!({"exp": NOW_S * 1000}),
        json!({"exp": 1e18}),
    ] {
        assert!(with(good.clone()).is_ok(), "{good}");
    }
    for (bad, error) in [
        (json!({"exp": null}), JwtError::Expired),
        (json!({"exp": NOW_S - 5}), JwtError::Expired),
        (json!({"exp": "tomorrow"}), JwtError::BadClaims),
        (json!({"exp": 1e300}), JwtError::BadClaims),
        (json!({"exp": -1}), JwtError::BadClaims),
        (json!({"nbf": NOW_S + 6}), JwtError::TooEarly),
        (json!({"iat": NOW_S + 6}), JwtError::TooEarly),
        (json!({"iat": NOW_S * 1000}), JwtError::TooEarly),
        (json!({"aud": null}), JwtError::WrongAudience),
        (json!({"aud": []}), JwtError::WrongAudience),
        (json!({"aud": "https://other.example/group/test/"}), JwtError::WrongAudience),
        (json!({"aud": "https://aula.example/group/test/"}), JwtError::WrongAudience),
        (json!({"aud": "https://aula.example:8443/group/test"}), JwtError::WrongAudience),
        (json!({"aud": "https://aula.example:8443/group/testing/"}), JwtError::WrongAudience),
        (json!({"aud": "https://aula.example:8443/group/"}), JwtError::WrongAudience),
        (
            json!({"aud": "https://aula.example:8443/group/te/", "include-subgroups": true}),
            JwtError::WrongAudience,
        ),
        (
            json!({"aud": "https://aula.example:8443/", "include-subgroups": true}),
            JwtError::WrongAudience,
        ),
        (json!({"aud": "/group/test/"}), JwtError::WrongAudience),
        (json!({"aud": 3}), JwtError::BadClaims),
        (json!({"permissions": "op"}), JwtError::BadClaims),
        (json!({"permissions": [1]}), JwtError::BadClaims),
        (json!({"sub": 3}), JwtError::BadClaims),
        (
            json!({"aud": "https://aula.example:8443/group/", "include-subgroups": "yes"}),
            JwtError::WrongAudience,
        ),
    ] {
        assert_eq!(with(bad.clone()), Err(error), "{bad}");
    }
    // Of a claim that stands twice the last one counts.
    let twice = format!("{{\"exp\":1,{}", claims(json!({})).to_string().trim_start_matches('{'));
    assert!(check(&token(&header, &twice, &pair.sign), &keys).is_ok());
    let twice = format!("{},\"exp\":1}}", claims(json!({})).to_string().trim_end_matches('}'));
    assert_eq!(check(&token(&header, &twice, &pair.sign), &keys), Err(JwtError::Expired));
    let cut = claims(json!({})).to_string().replace("anybody", r"cut \ud83d");
    assert!(check(&token(&header, &cut, &pair.sign), &keys).is_ok());
    let long = claims(json!({"x": "y".repeat(1 << 20)})).to_string();
    assert_eq!(check(&token(&header, &long, &pair.sign), &keys), Err(JwtError::NotAJwt));
    for nonsense in ["", ".", "..", "a.b.c", "e30.e30.", "ééé", "\0.\0.\0"] {
        assert_eq!(check(nonsense, &keys), Err(JwtError::NotAJwt), "{nonsense:?}");
    }
}

#[test]
fn regression_an_audience_without_host_or_scheme_is_one_where_any_host_will_do() {
    let pair = secret("HS256", hmac::HMAC_SHA256, 32);
    let group = GroupName::parse("test").unwrap();
    for (aud, with_any, with_host) in [
        ("/group/test/", true, false),
        ("//h/group/test/", true, true),
        ("//other/group/test/", true, false),
        ("https:/group/test/", true, false),
        ("https:///group/test/", true, false),
        ("///group/test/", false, false),
        ("group/test/", false, false),
        ("h/group/test/", false, false),
        ("https:group/test/", false, false),
        (":///group/test/", false, false),
        ("1:/group/test/", false, false),
        ("a b://h/group/test/", false, false),
        ("//h/group/testing/", false, false),
        ("", false, false),
    ] {
        let signed =
            token(&json!({"alg": "HS256"}), &claims(json!({"aud": aud})).to_string(), &pair.sign);
        for (host, is_good) in [("", with_any), ("h", with_host)] {
            let audience = Audience { group: &group, host, base: "" };
            for token in [signed.clone(), format!("{signed}\r\n")] {
                let checked = verify(&token, &[key(&pair.jwk)], audience, NOW);
                assert_eq!(checked.is_ok(), is_good, "{aud} {host:?}");
            }
        }
    }
}

#[test]
fn a_proxys_path_may_come_before_the_group() {
    let pair = secret("HS256", hmac::HMAC_SHA256, 32);
    let audience = "https://h/base/group/test/";
    let claims = claims(json!({"aud": audience})).to_string();
    let signed = token(&json!({"alg": "HS256"}), &claims, &pair.sign);
    let group = GroupName::parse("test").unwrap();
    for (host, base, is_good) in
        [("", "/base", true), ("h", "/base/", true), ("", "", false), ("", "/bas", false)]
    {
        let audience = Audience { group: &group, host, base };
        let checked = verify(&signed, &[key(&pair.jwk)], audience, NOW);
        assert_eq!(checked.is_ok(), is_good, "{host} {base}");
    }
}

const FILE: &str = r#"{"users":{"op":{"password":{"type":"wildcard"},"permissions":"op"},
    "present":{"password":{"type":"wildcard"},"permissions":"present"},
    "whip":{"password":"sesame","permissions":"present"}}}"#;

fn kept(more: impl FnOnce(&mut Token)) -> Token {
    let mut token = Token {
        token: "t".to_owned(),
        group: "test".to_owned(),
        permissions: vec!["message".to_owned()],
        expires: Some(UnixMs(NOW.0 + 60_000)),
        ..Token::default()
    };
    more(&mut token);
    token
}

fn join(world: &mut World, id: &str, more: Value) -> Value {
    let conn = world.greet(id);
    let mut join = json!({"type": "join", "kind": "join", "group": "test"});
    join.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    world.say(conn, join);
    world.take(conn).remove(0)
}

#[test]
fn a_token_names_its_bearer_or_lets_it_choose() {
    let mut world = World::new(FILE);
    world.tokens = vec![
        kept(|token| token.username = Some("ann".into())),
        kept(|token| token.token = "free".into()),
        kept(|token| (token.token, token.username) = ("anon".into(), Some(String::new()))),
        kept(|token| (token.token, token.expires) = ("old".into(), Some(NOW))),
        kept(|token| (token.token, token.expires) = ("endless".into(), None)),
        kept(|token| (token.token, token.group) = ("other".into(), "other".into())),
        kept(|token| (token.token, token.username) = ("bad".into(), Some("../x".into()))),
    ];
    let ann = join(&mut world, "1", json!({"token": "t", "username": "op"}));
    assert_eq!((&ann["kind"], &ann["username"]), (&json!("join"), &json!("ann")));
    assert_eq!(ann["permissions"], json!(["message"]));
    let need = join(&mut world, "2", json!({"token": "free"}));
    assert_eq!((&need["kind"], &need["error"]), (&json!("fail"), &json!("need-username")));
    let free = join(&mut world, "3", json!({"token": "free", "username": "bob"}));
    assert_eq!((&free["kind"], &free["username"]), (&json!("join"), &json!("bob")));
    let taken = join(&mut world, "4", json!({"token": "free", "username": "op"}));
    assert_eq!(taken["error"], "duplicate-username");
    assert!(taken["value"].as_str().unwrap().contains("this username is taken"));
    let anon = join(&mut world, "5", json!({"token": "anon"}));
    assert_eq!((&anon["kind"], &anon["username"]), (&json!("join"), &json!("")));
    for token in ["old", "endless", "other", "bad", "nothing"] {
        let refused = join(&mut world, token, json!({"token": token, "username": "zoe"}));
        assert_eq!(refused["value"], "not authorised", "{token}");
        assert!(refused.get("error").is_none());
    }
    // A token and a right password: the token decides alone.
    let both = json!({"token": "nothing", "username": "op", "password": ""});
    assert_eq!(join(&mut world, "6", both)["value"], "not authorised");
}

#[test]
fn a_signed_token_opens_the_group_that_lists_its_key() {
    let pair = curve("ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING);
    let signed = token(&json!({"alg": "ES256"}), &claims(json!({})).to_string(), &pair.sign);
    let file = json!({"authKeys": [{"kty": "oct"}, pair.jwk]}).to_string();
    let mut world = World::new(&file);
    let joined = join(&mut world, "1", json!({"token": signed}));
    assert_eq!((&joined["kind"], &joined["username"]), (&json!("join"), &json!("ann")));
    // One that is well formed and not signed is no stateful token either.
    let forged = format!("{}.AA", signed.rsplit_once('.').unwrap().0);
    world.tokens = vec![kept(|token| token.token.clone_from(&forged))];
    let refused = join(&mut world, "2", json!({"token": forged, "username": "x"}));
    assert_eq!(refused["kind"], "fail");
}

#[test]
fn whip_takes_tokens_and_passwords_and_ends_with_the_token() {
    let mut world = World::new(FILE);
    world.tokens = vec![kept(|token| {
        token.permissions = vec!["present".to_owned()];
        token.username = Some("camera".to_owned());
    })];
    let op = world.member("op", "op");
    let post = |world: &mut World, bearer: &str| {
        let request = whip::Request {
            method: "POST".into(),
            group: "test".into(),
            content_type: Some("application/sdp".into()),
            authorization: Some(format!("Bearer {bearer}")),
            body: b"v=0\r\na=ice-ufrag:abcd\r\n".to_vec(),
            ..whip::Request::default()
        };
        world.whip(request).map(|response| response.status)
    };
    assert_eq!(post(&mut world, "wrong"), Some(401));
    // Nothing is answered until the data plane has: both are in.
    assert_eq!(post(&mut world, "sesame"), None);
    assert_eq!(post(&mut world, "t"), None);
    let media = world.last_publish();
    world.event(MediaEvent::Answered {
        media,
        answer: "v=0".into(),
        publications: 1,
        unused: Vec::new(),
    });
    let said = world.take(op);
    assert_eq!(kinds(&said), ["user/add", "user/add"]);
    assert_eq!(said[1]["username"], "camera");
    for _ in 0..5 {
        world.advance(Duration::from_secs(10));
        world.say(op, json!({"type": "ping"}));
    }
    world.advance(Duration::from_secs(9));
    let is_camera_out = |said: &[Value]| {
        said.iter().any(|said| said["kind"] == "delete" && said["username"] == "camera")
    };
    assert!(!is_camera_out(&world.take(op)));
    world.advance(Duration::from_secs(2));
    assert!(is_camera_out(&world.take(op)), "the session has outlived its token");
}

#[test]
fn a_token_that_is_taken_back_ends_what_it_let_in() {
    let mut world = World::new(FILE);
    world.tokens = vec![kept(|token| token.permissions = vec!["present".to_owned()])];
    let op = world.member("op", "op");
    let person = join(&mut world, "ann", json!({"token": "t", "username": "ann"}));
    assert_eq!(person["kind"], "join");
    let request = whip::Request {
        method: "POST".into(),
        group: "test".into(),
        content_type: Some("application/sdp".into()),
        authorization: Some("Bearer t".into()),
        body: b"v=0\r\na=ice-ufrag:abcd\r\n".to_vec(),
        ..whip::Request::default()
    };
    // The name that encoders have is a user's here; a token that names its bearer is no matter.
    assert_eq!(world.whip(request.clone()).map(|response| response.status), Some(401));
    world.tokens[0].username = Some("camera".to_owned());
    assert!(world.whip(request).is_none(), "the data plane is asked");
    let bearers = world.board.bearers();
    assert_eq!(bearers.len(), 1, "people are not asked about: {bearers:?}");
    assert_eq!((bearers[0].group.as_str(), bearers[0].secret.as_str()), ("test", "t"));
    world.take(op);
    world.board.revoke(&[bearers[0].conn], world.now);
    world.settle();
    assert_eq!(kinds(&world.take(op)), ["user/delete"]);
    assert!(world.board.bearers().is_empty());
    // Nor is somebody let in later who waits at the door with it.
    world.say(op, json!({"type": "groupaction", "kind": "lock"}));
    let waiting = world.connect();
    let hello = json!({"type": "handshake", "version": ["2"], "id": "zoe", "wants": ["knock"]});
    world.say(waiting, hello);
    let join = json!({"type": "join", "kind": "join", "group": "test", "token": "t"});
    world.say(waiting, join);
    assert_eq!(world.take(waiting).last().unwrap()["kind"], "wait");
    let bearers = world.board.bearers();
    assert_eq!(bearers.iter().map(|bearer| bearer.conn).collect::<Vec<_>>(), [waiting]);
    world.board.revoke(&[waiting], world.now);
    world.settle();
    let said = world.take(waiting);
    assert_eq!(
        (&said[0]["kind"], said[0]["value"].as_str()),
        (&json!("fail"), Some("your token has been revoked"))
    );
    world.say(op, json!({"type": "groupaction", "kind": "unlock"}));
    assert!(world.take(waiting).is_empty());
    // Whoever is not in by a token is not sent out like this.
    world.board.revoke(&[op], world.now);
    world.settle();
    assert!(world.board.census().clients == 2);
}

#[test]
fn people_stay_when_their_token_ends() {
    let mut world = World::new(FILE);
    world.tokens = vec![kept(|token| token.username = Some("ann".into()))];
    assert_eq!(join(&mut world, "ann", json!({"token": "t"}))["kind"], "join");
    let op = world.member("op", "op");
    for _ in 0..12 {
        world.advance(Duration::from_secs(10));
        world.say(op, json!({"type": "ping"}));
    }
    assert!(!world.take(op).iter().any(|said| said["error"] == "your token has expired"));
    assert!(!world.tokens[0].is_current(world.now.unix));
}

fn ask(world: &mut World, conn: signalling::ConnId, kind: &str, value: Value) -> Value {
    world.say(conn, json!({"type": "groupaction", "kind": kind, "value": value}));
    let said = world.take(conn);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((&said[0]["type"], &said[0]["privileged"]), (&json!("usermessage"), &json!(true)));
    said[0].clone()
}

#[test]
fn invitations_are_made_changed_and_listed() {
    let mut world = World::new(FILE);
    let op = world.member("op", "op");
    let made = ask(
        &mut world,
        op,
        "maketoken",
        json!({"group": "test", "expires": 86_400_000, "not-before": -1000,
            "permissions": ["present", "message"], "username": "ann"}),
    );
    assert_eq!(made["kind"], "token", "{made}");
    assert!(made.get("error").is_none());
    let token = &made["value"];
    assert_eq!(token["token"].as_str().unwrap().len(), 11);
    assert_eq!((&token["group"], &token["issuedBy"]), (&json!("test"), &json!("op")));
    let at = |ms: i64| json!(UnixMs(world.now.unix.0 + ms).to_rfc3339_ms());
    assert_eq!((&token["expires"], &token["not-before"]), (&at(86_400_000), &at(-1000)));
    assert_eq!(token["issuedAt"], at(0));
    let secret = token["token"].clone();
    let joined = join(&mut world, "ann", json!({"token": secret}));
    assert_eq!(joined["permissions"], json!(["present", "message"]));
    world.take(op);
    let edited = ask(&mut world, op, "edittoken", json!({"token": secret, "expires": -60_000}));
    assert_eq!(edited["value"]["username"], "ann");
    assert_eq!(join(&mut world, "late", json!({"token": secret}))["value"], "not authorised");
    let listed = ask(&mut world, op, "listtokens", Value::Null);
    assert_eq!((&listed["kind"], &listed["value"][0]["token"]), (&json!("tokenlist"), &secret));
}

#[test]
fn regression_an_operator_reaches_no_token_that_gives_more_than_it_has() {
    let mut world = World::new(FILE);
    let op = world.member("op", "op");
    world.tokens = vec![
        kept(|token| token.token = "own".into()),
        kept(|token| (token.token, token.permissions) = ("admin".into(), vec!["admin".into()])),
        kept(|token| (token.token, token.include_subgroups) = ("below".into(), true)),
    ];
    let listed = ask(&mut world, op, "listtokens", Value::Null)["value"].clone();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["token"]), (1, &json!("own")));
    for (secret, is_its_own) in [("own", true), ("admin", false), ("below", false)] {
        let edit = json!({"token": secret, "expires": 86_400_000});
        let edited = ask(&mut world, op, "edittoken", edit);
        assert_eq!(edited["value"] != "token unknown", is_its_own, "{secret}");
    }
    assert_eq!(world.tokens[1].expires, kept(|_| {}).expires, "it ends when it did");
}

#[test]
fn invitations_that_make_no_sense_are_refused_in_their_own_form() {
    let mut world = World::new(FILE);
    let (op, present) = (world.member("op", "op"), world.member("p", "present"));
    world.take(op);
    world.tokens = vec![kept(|token| token.group = "other".into())];
    let good = json!({"group": "test", "expires": 1000, "permissions": ["message"]});
    let with = |more: Value| {
        let mut value = good.clone();
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        value
    };
    for (kind, value, text) in [
        ("maketoken", with(json!({"token": "x"})), "client specified token"),
        ("maketoken", with(json!({"group": "other"})), "wrong group in token"),
        ("maketoken", with(json!({"expires": null})), "token doesn't expire"),
        ("maketoken", with(json!({"username": "op"})), "that username is taken"),
        ("maketoken", with(json!({"username": "/."})), "that username cannot be used"),
        ("maketoken", with(json!({"expires": true})), "a date of the token cannot be read"),
        ("maketoken", json!(3), "bad value in token request"),
        ("edittoken", json!({"token": "t", "username": "x"}), "this field cannot be edited"),
        ("edittoken", json!({"token": "t", "permissions": []}), "this field cannot be edited"),
        ("edittoken", json!({}), "token unknown"),
        // It exists, in another group.
        ("edittoken", json!({"token": "t", "expires": 1000}), "token unknown"),
    ] {
        let said = ask(&mut world, op, kind, value.clone());
        assert_eq!((&said["error"], &said["value"]), (&json!("error"), &json!(text)), "{value}");
    }
    let wider = with(json!({"permissions": ["message", "record"]}));
    assert_eq!(ask(&mut world, op, "maketoken", wider)["error"], "not-authorised");
    for kind in ["maketoken", "edittoken", "listtokens"] {
        let said = ask(&mut world, present, kind, good.clone());
        assert_eq!(
            (&said["error"], &said["value"]),
            (&json!("not-authorised"), &json!("not authorised"))
        );
    }
    assert_eq!(world.audit.len(), 4, "each of them is in the log");
    assert_eq!(world.tokens.len(), 1);
}

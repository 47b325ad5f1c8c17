use super::*;

/// Two services with a queue each on a broadcast, one with a work queue, one with instances.
fn rules() -> Rules {
    let service = |name: &str| ServiceRule {
        name: name.into(),
        identities: vec![
            Identity::User(name.to_owned()),
            Identity::ConnectionName(name.to_owned()),
        ],
        origin: "t.toml:1".into(),
    };
    let exchange = |kind, delivers| ExchangeRule {
        kind,
        delivers,
        unroutable: Unroutable::Return,
        tolerate: false,
        origin: "t.toml:5".into(),
    };
    let queue = |service: &str, exchange: &str, key: &str| QueueRule {
        service: Some(service.into()),
        bindings: vec![(exchange.into(), key.into())],
        tolerate: false,
        origin: "t.toml:12".into(),
    };
    Rules {
        enforce: Enforce::Deny,
        services: vec![service("member"), service("promotion")],
        exchanges: BTreeMap::from([
            ("newuser".into(), exchange(Kind::Fanout, Delivers::Broadcast)),
            ("jobs".into(), exchange(Kind::Topic, Delivers::Work)),
            ("cache".into(), exchange(Kind::Fanout, Delivers::Broadcast)),
        ]),
        queues: BTreeMap::from([
            ("newuser.member".into(), queue("member", "newuser", "")),
            ("newuser.promotion".into(), queue("promotion", "newuser", "")),
            ("jobs.mail".into(), queue("member", "jobs", "mail.*")),
        ]),
        per_instance: vec![PerInstance {
            exchange: "cache".into(),
            service: Some("member".into()),
            origin: "t.toml:30".into(),
        }],
        ..Rules::default()
    }
}

#[test]
fn connections_are_mapped_by_the_strongest_proof() {
    let mut rules = rules();
    let of = |rules: &Rules, sans: &[&str], user: &str, name: Option<&str>| {
        let sans: Vec<String> = sans.iter().map(|it| (*it).to_owned()).collect();
        rules.service_of(&sans, user, name).map(ToString::to_string)
    };
    assert_eq!(of(&rules, &[], "guest", Some("member@host-3")), Some("member".into()));
    assert_eq!(of(&rules, &[], "guest", Some("member:1#2")), Some("member".into()));
    assert_eq!(of(&rules, &[], "promotion", Some("member")), Some("promotion".into()));
    assert_eq!(of(&rules, &[], "guest", Some("memberless")), None);
    rules.services[0].identities.push(Identity::Certificate("m.example".into()));
    assert_eq!(of(&rules, &["m.example"], "promotion", None), Some("member".into()));
    rules.authenticated_identity = true;
    assert_eq!(of(&rules, &[], "guest", Some("member@host-3")), None);
}

#[test]
fn only_its_service_consumes_a_queue() {
    let rules = rules();
    let (member, promotion) = ("member".into(), "promotion".into());
    assert_eq!(rules.may_consume("newuser.member", Some(&member)), Ok(()));
    assert_eq!(rules.may_consume("undeclared", Some(&member)), Ok(()));
    let breach = rules.may_consume("newuser.member", Some(&promotion)).unwrap_err();
    assert_eq!(breach.rule, "FAN-002");
    assert_eq!(
        breach.text,
        "queue 'newuser.member' belongs to service 'member' (t.toml:12), not 'promotion', which \
         would take its messages; consume from 'newuser.promotion'"
    );
    let breach = rules.may_consume("newuser.member", None).unwrap_err();
    assert!(breach.text.contains("set connection_name to 'member@host'"), "{}", breach.text);
    assert!(rules.warns_only(None) && !rules.warns_only(Some(&promotion)));
}

#[test]
fn private_copies_of_work_and_second_copies_are_refused() {
    let rules = rules();
    let member: ServiceName = "member".into();
    let other: ServiceName = "other".into();
    let bind = |exchange, key, queue, private, service| {
        let breach = rules.may_bind(exchange, key, Candidate { queue, private, service });
        breach.err().map(|it| it.text)
    };
    let text = bind("jobs", "mail.#", "amq.gen-1", true, Some(&member)).unwrap();
    assert!(text.contains("consume from 'jobs.mail'"), "{text}");
    assert_eq!(bind("jobs", "report.*", "reports", false, Some(&member)), None);
    let text = bind("newuser", "", "amq.gen-1", true, Some(&member)).unwrap();
    assert!(text.contains("second copy for service 'member'"), "{text}");
    let text = bind("newuser", "", "amq.gen-1", true, None).unwrap();
    assert!(text.contains("per-instance"), "{text}");
    assert_eq!(bind("newuser", "", "audit", false, Some(&other)), None);
    assert_eq!(bind("newuser", "", "newuser.member", false, None), None);
    assert_eq!(bind("cache", "", "amq.gen-1", true, Some(&member)), None);
    assert_eq!(bind("undeclared", "", "amq.gen-1", true, None), None);
}

#[test]
fn rules_that_are_off_refuse_nothing() {
    let rules = Rules { enforce: Enforce::Off, ..rules() };
    let candidate = Candidate { queue: "amq.gen-1", private: true, service: None };
    assert_eq!(rules.may_bind("jobs", "mail.a", candidate), Ok(()));
    assert_eq!(rules.may_consume("newuser.member", None), Ok(()));
}

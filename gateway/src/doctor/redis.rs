//! Redis, as the edge's own user finds it.

use std::time::Duration;

use super::finding::shown;
use super::{Finding, Subject};
use crate::session::REVOKED;
use crate::store::{self, Facts, Inspection, RedisSettings};

pub async fn look(subject: &Subject) -> Vec<Finding> {
    let store::Settings::Redis(settings) = &subject.settings.store else {
        return vec![Finding::warn(
            "store",
            "memory: is for one replica, and a restart signs everybody out",
            "store.url = \"rediss://…\" where there are several replicas, or restarts shall not be noticed",
        )];
    };
    let inspecting = store::inspect(settings.clone(), REVOKED);
    let inspected = match &subject.redis_token {
        Some(token) => tokio::select! {
            inspected = inspecting => inspected,
            never = token.keep() => match never {},
        },
        None => inspecting.await,
    };
    match inspected {
        Ok(nodes) => {
            let transport = of_transport(settings);
            let nodes = nodes.iter().flat_map(|node| of_node(node, settings));
            std::iter::once(transport).chain(nodes).collect()
        }
        Err(error) => vec![Finding::fail("store", error.to_string(), "correct store.url")],
    }
}

fn of_transport(settings: &RedisSettings) -> Finding {
    const CHECK: &str = "store.tls";
    if settings.url.is_tls() {
        return Finding::ok(CHECK, "Redis is spoken to over TLS");
    }
    if settings.url.is_loopback() {
        return Finding::ok(CHECK, "Redis is on this machine, where nobody else hears it");
    }
    let fix = "store.url = \"rediss://…\", and store.ca_file if its authority is your own";
    Finding::warn(CHECK, "Redis is spoken to in clear: who listens on the way has its password", fix)
}

fn of_node(node: &Inspection, settings: &RedisSettings) -> Vec<Finding> {
    let name = shown(&node.node);
    let facts = match &node.facts {
        Ok(facts) => facts,
        Err(error) => {
            let fix =
                "start Redis, let this machine reach it, and see store.url, password_file, entra_user and ca_file";
            return vec![Finding::fail("store.connection", format!("{name}: {error}"), fix)];
        }
    };
    let mut findings = vec![
        of_version(&name, facts),
        of_rights(&name, facts, settings),
        of_round_trips(&name, facts, settings.response_timeout),
    ];
    if facts.info.is_none() {
        findings.push(Finding::warn(
            "store.info",
            format!("{name}: the user may not ask how Redis is set up (INFO)"),
            "ACL SETUSER sallyport +info, as in deploy/redis/users.acl; or look yourself that maxmemory-policy is noeviction",
        ));
        return findings;
    }
    findings.push(of_eviction(&name, facts));
    findings.extend(of_persistence(&name, facts));
    findings.push(of_replicas(&name, facts));
    findings
}

fn of_version(node: &str, facts: &Facts) -> Finding {
    const CHECK: &str = "store.version";
    let (version, role) = (shown(&facts.version), shown(&facts.role));
    let says = format!("{node}: Redis {version}, {role}");
    match role == "replica" || role == "slave" {
        false => Finding::ok(CHECK, says),
        true => Finding::fail(
            CHECK,
            format!("{says}, which takes no writes"),
            "name the primary in store.url, or the sentinels that know it: rediss+sentinel://…",
        ),
    }
}

fn of_rights(node: &str, facts: &Facts, settings: &RedisSettings) -> Finding {
    const CHECK: &str = "store.acl";
    if !facts.lacks.is_empty() {
        let rights: Vec<_> = facts.lacks.iter().map(|command| format!("+{command}")).collect();
        return Finding::fail(
            CHECK,
            format!("{node}: the user may not {}", facts.lacks.join(", ")),
            format!("give it {} on sallyport:*, as deploy/redis/users.acl does: ACL LOAD", rights.join(" ")),
        );
    }
    if !facts.exceeds.is_empty() {
        let nobody = !settings.url.names_a_user() && settings.entra_user.is_none();
        let who = if nobody { "the default user" } else { "the user" };
        return Finding::warn(
            CHECK,
            format!("{node}: {who} may do what the edge never does: {}", facts.exceeds.join(", ")),
            "use the user with the least rights: deploy/redis/users.acl, and its name in store.url",
        );
    }
    Finding::ok(CHECK, format!("{node}: the user may do what the edge needs, and no more"))
}

fn of_round_trips(node: &str, facts: &Facts, patience: Duration) -> Finding {
    const CHECK: &str = "store.round_trip";
    let slowest = facts.round_trips.iter().max().copied().unwrap_or_default();
    let says = format!(
        "{node}: {} questions, the slowest took {:.1} ms, of {} ms that the edge waits",
        facts.round_trips.len(),
        slowest.as_secs_f64() * 1000.0,
        patience.as_millis()
    );
    if slowest > patience / 2 {
        let fix = "bring Redis closer (same region, same network), or raise store.response_timeout";
        return Finding::warn(CHECK, says, fix);
    }
    Finding::ok(CHECK, says)
}

/// Every record has an end of its own, so each policy but one may take a session that somebody uses.
fn of_eviction(node: &str, facts: &Facts) -> Finding {
    const CHECK: &str = "store.eviction";
    const FIX: &str = "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf";
    let bounded = facts.info("maxmemory").is_some_and(|bytes| bytes != "0");
    match facts.info("maxmemory_policy") {
        Some("noeviction") => Finding::ok(CHECK, format!("{node}: maxmemory-policy is noeviction")),
        Some(policy) if bounded => Finding::fail(
            CHECK,
            format!("{node}: maxmemory-policy is {}: when memory is short, users are signed out", shown(policy)),
            FIX,
        ),
        Some(policy) => Finding::warn(
            CHECK,
            format!("{node}: maxmemory-policy is {}, though maxmemory is not set", shown(policy)),
            FIX,
        ),
        None => Finding::warn(CHECK, format!("{node}: Redis does not say what it evicts"), FIX),
    }
}

fn of_persistence(node: &str, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "store.persistence";
    let failed = ["rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status"];
    let failed: Vec<_> = failed.into_iter().filter(|name| facts.info(name).is_some_and(|word| word != "ok")).collect();
    if !failed.is_empty() {
        return vec![Finding::fail(
            CHECK,
            format!("{node}: Redis cannot write to its disk ({}), and may refuse all writes", failed.join(", ")),
            "see Redis' log and the space and permissions of its folder",
        )];
    }
    vec![match facts.info("aof_enabled") {
        Some("1") => Finding::ok(CHECK, format!("{node}: writes are logged (appendonly yes)")),
        _ => Finding::warn(
            CHECK,
            format!(
                "{node}: appendonly is off: when Redis restarts, who signed in since its last snapshot is signed out"
            ),
            "CONFIG SET appendonly yes, and the same in redis.conf",
        ),
    }]
}

fn of_replicas(node: &str, facts: &Facts) -> Finding {
    const CHECK: &str = "store.replicas";
    let replicas = facts.replicas;
    match (replicas, facts.info("min_slaves_good_slaves")) {
        (0, _) => Finding::warn(
            CHECK,
            format!("{node}: no replica: when this server is lost, everybody is signed out"),
            "add a replica and sentinels, or use a managed Redis with one",
        ),
        (_, None) => Finding::warn(
            CHECK,
            format!("{node}: {replicas} connected; a primary that was replaced takes writes that are thrown away"),
            "CONFIG SET min-replicas-to-write 1, and the same in redis.conf",
        ),
        (_, Some(good)) => Finding::ok(CHECK, format!("{node}: {replicas} connected, {} up to date", shown(good))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn facts(info: &[(&str, &str)]) -> Facts {
        let info = info.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Facts { version: "7.2.1".into(), role: "master".into(), info: Some(info), ..Facts::default() }
    }

    #[test]
    fn what_may_sign_users_out_is_named() {
        let bounded = |policy| of_eviction("r", &facts(&[("maxmemory", "100"), ("maxmemory_policy", policy)])).level;
        assert_eq!(["noeviction", "allkeys-lru", "volatile-ttl"].map(bounded), [Level::Ok, Level::Fail, Level::Fail]);
        let boundless = facts(&[("maxmemory", "0"), ("maxmemory_policy", "allkeys-lru")]);
        assert_eq!(of_eviction("r", &boundless).level, Level::Warn);
        assert_eq!(of_eviction("r", &facts(&[])).level, Level::Warn);
        let persistence = |info| of_persistence("r", &facts(info)).remove(0).level;
        assert_eq!(persistence(&[("aof_enabled", "1"), ("rdb_last_bgsave_status", "ok")]), Level::Ok);
        assert_eq!(persistence(&[("aof_enabled", "0")]), Level::Warn);
        assert_eq!(persistence(&[("aof_enabled", "1"), ("rdb_last_bgsave_status", "err")]), Level::Fail);
        let with = |replicas, info| of_replicas("r", &Facts { replicas, ..facts(info) }).level;
        assert_eq!(with(0, &[]), Level::Warn);
        assert_eq!(with(1, &[]), Level::Warn);
        assert_eq!(with(1, &[("min_slaves_good_slaves", "1")]), Level::Ok);
        assert_eq!(of_version("r", &Facts { role: "replica".into(), ..facts(&[]) }).level, Level::Fail);
    }

    #[test]
    fn slow_answers_are_compared_with_the_patience_of_the_edge() {
        let slow =
            Facts { round_trips: vec![Duration::from_millis(1), Duration::from_millis(130)], ..Facts::default() };
        assert_eq!(of_round_trips("r", &slow, Duration::from_millis(250)).level, Level::Warn);
        assert_eq!(of_round_trips("r", &slow, Duration::from_secs(1)).level, Level::Ok);
    }
}

//! The route tables against live daemons: every line of `tests/routes`, every method on every route, and that no route
//! of the sources is missing there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;

use harness::corpus::{bytes, fits};
use harness::{Lookupd, Nsqd, Reply, request, request_bearing, root};

/// Sources that may hold routes of the daemon.
const NSQD: &[&str] = &["broker/src/http.rs", "daemon/src/http/debug.rs"];
const NSQLOOKUPD: &[&str] = &["lookupd/src/http.rs", "daemon/src/http/debug.rs"];

/// Of pprof as nsqlookupd serves it: knobs are nsqd's.
const NOT_OF_NSQLOOKUPD: &[&str] = &["/debug/setblockrate", "/debug/freememory"];

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

#[test]
fn nsqd_answers_every_line_of_its_route_table() {
    let nsqd = Nsqd::start();
    check(&Table::read("tests/routes/nsqd.txt"), nsqd.tcp(), nsqd.http());
}

#[test]
fn nsqlookupd_answers_every_line_of_its_route_table() {
    let lookupd = Lookupd::start();
    check(&Table::read("tests/routes/nsqlookupd.txt"), lookupd.tcp(), lookupd.http());
}

#[test]
fn every_method_on_every_route_is_served_or_refused_with_what_is_allowed() {
    let (nsqd, lookupd) = (Nsqd::start(), Lookupd::start());
    for (table, http) in [("nsqd", nsqd.http()), ("nsqlookupd", lookupd.http())] {
        let table = Table::read(&format!("tests/routes/{table}.txt"));
        let mut wrong = String::new();
        println!("{}: {} routes", table.path, table.routes.len());
        for route in table.routes.iter().filter(|route| !only_stock() || route.is_stock) {
            println!("  {:<8} {:<26} {}", route.methods.join(","), route.path, route.access);
            let path = route.path.replace("{option}", "log_level");
            for method in
                METHODS.iter().filter(|method| !route.methods.iter().any(|served| served == *method))
            {
                let reply = request(http, method, &path, b"");
                if let Err(why) = refused(&reply, method, route) {
                    let _ = writeln!(wrong, "{method} {path}: {why}");
                }
            }
        }
        assert!(wrong.is_empty(), "{}:\n{wrong}", table.path);
    }
}

#[test]
fn no_route_of_the_sources_is_missing_in_the_tables() {
    for (table, sources) in [("nsqd", NSQD), ("nsqlookupd", NSQLOOKUPD)] {
        let table = Table::read(&format!("tests/routes/{table}.txt"));
        let listed: BTreeSet<String> = table.routes.iter().map(|route| route.path.clone()).collect();
        let mut served: BTreeSet<String> = sources.iter().flat_map(|source| paths_in(source)).collect();
        if sources == NSQLOOKUPD {
            served.retain(|path| !NOT_OF_NSQLOOKUPD.contains(&path.as_str()));
        }
        assert_eq!(listed, served, "{}", table.path);
    }
}

#[test]
fn without_credentials_nothing_is_published_changed_or_shown_of_the_process() {
    if only_stock() {
        return println!("stock knows no credentials for HTTP");
    }
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let token = format!("--admin-token-file={}", token.display());
    let (nsqd, lookupd) = (Nsqd::with(&[&token]), Lookupd::with(&[&token]));
    let (nsqd_all, lookupd_all) =
        (Nsqd::with(&[&token, "--http-auth=all"]), Lookupd::with(&[&token, "--http-auth=all"]));
    let mut wrong = String::new();
    for (name, writes, all) in
        [("nsqd", nsqd.http(), nsqd_all.http()), ("nsqlookupd", lookupd.http(), lookupd_all.http())]
    {
        let table = Table::read(&format!("tests/routes/{name}.txt"));
        println!("{:<36} none  bad   admin  none (--http-auth=all)", table.path);
        for route in &table.routes {
            for method in &route.methods {
                check_access(route, method, writes, all, &mut wrong);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

const TOKEN: &str = "a-token-of-the-tests-that-is-long-enough";

/// One row of the matrix: who gets how far.
fn check_access(route: &Route, method: &str, writes: SocketAddr, all: SocketAddr, wrong: &mut String) {
    let path = route.path.replace("{option}", "log_level");
    let none = request(writes, method, &path, b"").status;
    let bad = request_bearing(writes, "not-the-token", method, &path, b"").status;
    // A profile takes as long as it is asked to, and nobody here wants one.
    let is_quick = !path.ends_with("/profile");
    let admin = if is_quick { request_bearing(writes, TOKEN, method, &path, b"").status } else { 0 };
    let none_of_all = request(all, method, &path, b"").status;
    println!("  {method:<5} {path:<28} {none:<5} {bad:<5} {admin:<6} {none_of_all}");
    let is_denied = |status: u16| status == 401 || status == 403;
    let closed = route.access == "closed";
    let is_right = is_denied(none) == closed
        && is_denied(bad) == closed
        && !is_denied(admin)
        && is_denied(none_of_all) == (route.access != "probe");
    if !is_right {
        let _ = writeln!(wrong, "{method} {path} is {}: {none} {bad} {admin} {none_of_all}", route.access);
    }
}

fn only_stock() -> bool {
    std::env::var("CORPUS").is_ok_and(|value| value == "stock")
}

struct Table {
    path: String,
    routes: Vec<Route>,
    lines: Vec<Line>,
}

struct Route {
    methods: Vec<String>,
    path: String,
    /// What somebody without credentials gets where authorization is on.
    access: String,
    /// Stock has it too.
    is_stock: bool,
}

struct Line {
    number: usize,
    is_stock: bool,
    method: String,
    target: String,
    body: Vec<u8>,
    expected: String,
}

impl Table {
    fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let mut table = Self { path: path.to_owned(), routes: Vec::new(), lines: Vec::new() };
        let mut is_stock = true;
        for (index, line) in
            text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        {
            if let Some(truth) = line.strip_prefix("truth: ") {
                is_stock = truth == "stock";
                assert!(is_stock || truth.starts_with("ours, because "), "{path}:{}: {truth}", index + 1);
            } else if let Some(route) = line.strip_prefix("route ") {
                table.routes.push(Self::route(route, is_stock).unwrap_or_else(|| panic!("{path}: {line}")));
            } else {
                let line = Self::line(index + 1, line, is_stock);
                table.lines.push(line.unwrap_or_else(|| panic!("{path}:{}: what is it?", index + 1)));
            }
        }
        table
    }

    fn route(text: &str, is_stock: bool) -> Option<Route> {
        let (route, access) = text.rsplit_once(": ")?;
        let (methods, path) = route.rsplit_once(' ')?;
        let methods = methods.split(' ').map(str::to_owned).collect();
        let is_known = ["probe", "open", "closed"].contains(&access);
        is_known.then(|| Route { methods, path: path.to_owned(), access: access.to_owned(), is_stock })
    }

    fn line(number: usize, text: &str, is_stock: bool) -> Option<Line> {
        let (request, expected) = text.split_once(" -> ")?;
        let (request, body) = request.split_once(" body ").unwrap_or((request, "\"\""));
        let (method, target) = request.split_once(' ')?;
        let (method, target, expected) = (method.to_owned(), target.to_owned(), expected.to_owned());
        Some(Line { number, is_stock, method, target, body: bytes(body).ok()?, expected })
    }
}

fn check(table: &Table, tcp: SocketAddr, http: SocketAddr) {
    let lines: Vec<&Line> = table.lines.iter().filter(|line| line.is_stock || !only_stock()).collect();
    let mut wrong = Vec::new();
    for line in &lines {
        let expected = line
            .expected
            .replace("<tcp>", &tcp.port().to_string())
            .replace("<http>", &http.port().to_string());
        let reply = request(http, &line.method, &line.target, &line.body);
        let seen = shown(&reply);
        if !fits(expected.as_bytes(), seen.as_bytes()) {
            let (method, target) = (&line.method, &line.target);
            wrong.push(format!(
                "{}:{}: {method} {target}\n  expected {expected}\n  got      {seen}",
                table.path, line.number
            ));
        }
    }
    let stock = lines.iter().filter(|line| line.is_stock).count();
    println!("{}: {} lines, {stock} are what stock NSQ does; {} wrong", table.path, lines.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Status, `nsq`, kind of content and body, as a line of a table has them.
fn shown(reply: &Reply) -> String {
    let nsq = match reply.header("x-nsq-content-type") {
        Some("nsq; version=1.0") => " nsq",
        Some(_) => " (another version of nsq)",
        None => "",
    };
    let kind = match reply.header("content-type") {
        None => "none",
        Some("text/plain; charset=utf-8") => "text",
        Some("application/json; charset=utf-8") => "json",
        Some("text/html; charset=utf-8") => "html",
        Some(other) => other,
    };
    format!("{}{nsq} {kind} {}", reply.status, reply.text()).trim_end().to_owned()
}

/// 405 with what is allowed, or for OPTIONS 200 with the same.
fn refused(reply: &Reply, method: &str, route: &Route) -> Result<(), String> {
    let wanted = if method == "OPTIONS" { 200 } else { 405 };
    if reply.status != wanted {
        return Err(format!("{} {}", reply.status, reply.text()));
    }
    let allow = reply.header("allow").unwrap_or_default();
    let allowed: BTreeSet<&str> = allow.split(',').map(str::trim).filter(|name| *name != "OPTIONS").collect();
    let served: BTreeSet<&str> = route.methods.iter().map(String::as_str).collect();
    if allowed != served {
        return Err(format!("Allow: {allow}"));
    }
    // A HEAD has no body.
    if method == "HEAD" || method == "OPTIONS" || reply.text() == r#"{"message":"METHOD_NOT_ALLOWED"}"# {
        return Ok(());
    }
    Err(reply.text())
}

/// The paths of `.route("/path", ...)` in a source.
fn paths_in(source: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(source)).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
    let after = text.split(".route(").skip(1);
    after.map(|rest| rest.split('"').nth(1).unwrap_or_default().to_owned()).collect()
}

//! Redis as an attacker has it: everything can be read and written, past the gateway.

use std::collections::BTreeSet;
use std::sync::Mutex;

use redis::{Cmd, Connection, FromRedisValue, cmd};

pub struct Vault(Mutex<Connection>);

/// A record of any type as it was, to be put back.
pub struct Kept {
    name: String,
    /// `None` when there was nothing.
    content: Option<Vec<u8>>,
}

impl Vault {
    pub fn open(url: &str) -> Self {
        Self(Mutex::new(redis::Client::open(url).unwrap().get_connection().unwrap()))
    }

    /// Of all records of a kind.
    pub fn names(&self, kind: &str) -> BTreeSet<String> {
        self.ask(cmd("KEYS").arg(format!("sallyport:{kind}:*")))
    }

    /// The one record of a kind that was not there `before`.
    pub fn new_name(&self, kind: &str, before: &BTreeSet<String>) -> String {
        let names = self.names(kind);
        let mut new = names.difference(before);
        let name = new.next().expect("something was written").clone();
        assert_eq!(new.next(), None, "only one thing was written");
        name
    }

    pub fn index_of_new(&self, kind: &str, before: &BTreeSet<String>) -> String {
        self.new_name(kind, before).rsplit(':').next().unwrap().to_owned()
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        let value: Option<Vec<u8>> = self.ask(cmd("GET").arg(name));
        value.unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// Kept for ten minutes, longer than any test.
    pub fn write(&self, name: &str, value: &[u8]) {
        self.ask::<()>(cmd("SET").arg(name).arg(value).arg("EX").arg(600));
    }

    /// A list where a string belongs.
    pub fn write_list(&self, name: &str) {
        self.remove(name);
        self.ask::<()>(cmd("RPUSH").arg(name).arg("an element"));
    }

    pub fn remove(&self, name: &str) {
        self.ask::<()>(cmd("DEL").arg(name));
    }

    pub fn keep(&self, name: &str) -> Kept {
        Kept { name: name.to_owned(), content: self.ask(cmd("DUMP").arg(name)) }
    }

    /// As an attacker who recorded it does, or an operator who repairs.
    pub fn put_back(&self, kept: &Kept) {
        match &kept.content {
            Some(content) => {
                self.ask::<()>(cmd("RESTORE").arg(&kept.name).arg(600_000).arg(content).arg("REPLACE"));
            }
            None => self.remove(&kept.name),
        }
    }

    pub fn ask<T: FromRedisValue>(&self, command: &mut Cmd) -> T {
        command.query(&mut *self.0.lock().unwrap()).unwrap()
    }
}

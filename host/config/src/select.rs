//! Chooses the ingest a command is about.

use std::collections::BTreeMap;

use datakit_model::{TablePattern, TablePatterns};
use serde_json::Value as Json;

use crate::drift::DriftSetting;
use crate::ingest::{Ingest, is_reference};
use crate::kinds::{Connection, SinkConfig};
use crate::load::Config;
use crate::problem::{ConfigError, ConfigErrors, Problem};
use crate::reader::nearest;

/// What an ingest without a mode means, and what to do about it.
pub const NO_MODE: &str = "a full load into a table that holds rows is refused; set `mode = \"append\"`, `mode = \"overwrite\"` or `mode = \"merge\"`, --mode or DATAKIT_MODE";

/// The role an ingest without a file maps its only connection to.
const DEFAULT_ROLE: &str = "source";

/// What a command says about the ingest it wants.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// `NAME@VERSION`, `NAME@sha256:…`: wins over the ingest's own version.
    pub datakit: Option<String>,
    /// `--ingest`: a name, or a number from 1.
    pub ingest: Option<String>,
    /// All tables where none are named: for commands that read none.
    pub all_tables: bool,
}

impl Config {
    /// The chosen ingest, with environment and flags laid over it. Without one in the file, it is made of the only
    /// connection and the only sink there are.
    ///
    /// # Errors
    /// None fits, or several do; no table is granted.
    pub fn ingest(&self, selection: &Selection) -> Result<Ingest, ConfigErrors> {
        self.check_reference(selection)?;
        let ingest = match self.find(selection)? {
            Some(found) => found.clone(),
            None => self.made_up(selection)?,
        };
        self.laid_over(ingest, selection)
    }

    /// Every ingest that fits, in the order of the file, each with how people call it.
    ///
    /// # Errors
    /// None fits; no table is granted; tables or settings for one ingest are laid over several.
    pub fn ingests_of(&self, selection: &Selection) -> Result<Vec<(String, Ingest)>, ConfigErrors> {
        self.check_reference(selection)?;
        let wanted_name = selection.datakit.as_deref().map(name_of);
        let fits = |ingest: &Ingest| wanted_name.is_none_or(|name| name == name_of(&ingest.datakit));
        let fitting: Vec<&Ingest> = self.ingests.iter().filter(|ingest| fits(ingest)).collect();
        if selection.ingest.is_some() || fitting.len() < 2 {
            let ingest = self.ingest(selection)?;
            return Ok(vec![(ingest.name.clone().unwrap_or_else(|| ingest.datakit.clone()), ingest)]);
        }
        let names = self.names(fits);
        if self.over.tables.is_some() || !self.over.settings.is_empty() {
            return Err(error(Problem::SeveralIngests { count: fitting.len(), names, are_laid_over: true }));
        }
        let laid = fitting.into_iter().map(|ingest| self.laid_over(ingest.clone(), selection));
        names.into_iter().zip(laid).map(|(name, ingest)| Ok((name, ingest?))).collect()
    }

    /// The ingests that run at once with this one of the file and share its reads, as `--ingest` takes them.
    #[must_use]
    pub fn sharing_reads_of(&self, ingest: &Ingest) -> Vec<String> {
        let is_it = |other: &Ingest| {
            (&other.name, &other.datakit, &other.sink) == (&ingest.name, &ingest.datakit, &ingest.sink)
        };
        let Some(place) = self.ingests.iter().position(is_it) else { return Vec::new() };
        let names = self.names(|_| true);
        let all: Vec<(&Ingest, String)> = self.ingests.iter().zip(names).collect();
        let (before, from) = all.split_at(place);
        let shares = |(other, _): &&(&Ingest, String)| ingest.shares_reads_with(other);
        let before = before.iter().rev().take_while(shares).collect::<Vec<_>>().into_iter().rev();
        before.chain(from.iter().skip(1).take_while(shares)).map(|(_, name)| name.clone()).collect()
    }

    fn check_reference(&self, selection: &Selection) -> Result<(), ConfigErrors> {
        match selection.datakit.as_ref().filter(|datakit| !is_reference(datakit)) {
            Some(datakit) => Err(error(Problem::Reference { found: datakit.clone() })),
            None => Ok(()),
        }
    }

    /// The ingest with environment and flags over it.
    fn laid_over(&self, mut ingest: Ingest, selection: &Selection) -> Result<Ingest, ConfigErrors> {
        if let Some(datakit) = &selection.datakit {
            ingest.datakit.clone_from(datakit);
        }
        if let Some(tables) = &self.over.tables {
            ingest.tables = tables.clone();
        }
        for settings in &self.over.settings {
            merge(&mut ingest.settings, settings);
        }
        ingest.parallel = self.over.parallel.or(ingest.parallel);
        ingest.mode = self.over.mode.or(ingest.mode);
        if let Some(drift) = self.over.drift {
            ingest.drift = DriftSetting::All(drift);
        }
        ingest.receipt = self.over.receipt.or(ingest.receipt);
        if ingest.tables.patterns().is_empty() {
            if !selection.all_tables {
                return Err(error(Problem::NoTables));
            }
            ingest.tables = TablePatterns::new("*.*".parse::<TablePattern>().into_iter().collect());
        }
        Ok(ingest)
    }

    /// A warning for each ingest that does not say what happens to the rows a table already has, where no flag or variable
    /// says it for all.
    #[must_use]
    pub fn warnings_of_modes(&self) -> Vec<String> {
        if self.over.mode.is_some() {
            return Vec::new();
        }
        let without = self.ingests.iter().enumerate().filter(|(_, ingest)| ingest.mode.is_none());
        without
            .map(|(index, ingest)| {
                let name = ingest.name.as_ref().map_or_else(|| (index + 1).to_string(), |name| format!("`{name}`"));
                format!("ingest {name} ({}) has no mode: {NO_MODE}", ingest.datakit)
            })
            .collect()
    }

    /// The ingest's sink.
    ///
    /// # Errors
    /// There is none.
    pub fn sink_of(&self, ingest: &Ingest) -> Result<&SinkConfig, ConfigErrors> {
        let sink = ingest.sink.as_ref().and_then(|name| self.sinks.get(name));
        sink.ok_or_else(|| {
            if !self.sinks.is_empty() {
                let message = "it is not clear which sink is meant".to_owned();
                return no_ingest(message, "add an [[ingest]] with `sink` to the file");
            }
            let set = self.makers.sinks.iter().map(|variables| format!("set {variables}, or ")).collect::<String>();
            no_ingest("no sink is configured".to_owned(), &format!("{set}add [sinks.NAME] to the file"))
        })
    }

    /// The sink of this name; without a name the only one.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn one_sink(&self, name: Option<&str>) -> Result<&SinkConfig, ConfigErrors> {
        if let Some(name) = name {
            let known = self.sinks.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let hint = format!("there are: {known}");
            return self.sinks.get(name).ok_or_else(|| no_ingest(format!("no sink is called `{name}`"), &hint));
        }
        match self.sinks.values().collect::<Vec<_>>().as_slice() {
            [sink] => Ok(sink),
            [] => Err(no_ingest("no sink is configured".to_owned(), "add [sinks.NAME] to the file")),
            _ => Err(no_ingest("it is not clear which sink is meant".to_owned(), "name it: --sink NAME")),
        }
    }

    /// The tables that are chosen of a connection: a list each of the ingests that read it, or the one that a flag or variable
    /// puts over them. None where nothing says.
    #[must_use]
    pub fn tables_of(&self, connection: &str) -> Vec<TablePatterns> {
        if let Some(tables) = &self.over.tables {
            return vec![tables.clone()];
        }
        let reads = |ingest: &&Ingest| ingest.roles.values().any(|name| name == connection);
        self.ingests.iter().filter(reads).map(|ingest| ingest.tables.clone()).collect()
    }

    /// Whether a connection or sink has this name, or it is one of `besides`.
    ///
    /// # Errors
    /// Neither; the error names those that there are.
    pub fn check_name(&self, name: &str, besides: &[&str]) -> Result<(), ConfigErrors> {
        let known: Vec<&str> = self.connections.keys().chain(self.sinks.keys()).map(String::as_str).collect();
        if known.iter().chain(besides).any(|known| *known == name) {
            return Ok(());
        }
        let meant = nearest(name, known.iter().copied());
        let meant = meant.map(|meant| format!("did you mean `{meant}`? ")).unwrap_or_default();
        let hint = format!("{meant}there are: {}", [known.as_slice(), besides].concat().join(", "));
        Err(no_ingest(format!("no connection or sink is called `{name}`"), &hint))
    }

    fn find(&self, selection: &Selection) -> Result<Option<&Ingest>, ConfigErrors> {
        let wanted_name = selection.datakit.as_deref().map(name_of);
        if let Some(choice) = &selection.ingest {
            let by_number = choice.parse::<usize>().ok().and_then(|number| self.ingests.get(number.wrapping_sub(1)));
            let by_name = self.ingests.iter().find(|ingest| ingest.name.as_deref() == Some(choice));
            let found = by_name.or(by_number).ok_or_else(|| {
                no_ingest(
                    format!("no ingest is called `{choice}`"),
                    &format!("there are: {}", self.names(|_| true).join(", ")),
                )
            })?;
            return match wanted_name {
                Some(name) if name != name_of(&found.datakit) => Err(no_ingest(
                    format!("the ingest `{choice}` does not run `{name}`"),
                    &format!("it runs {}", found.datakit),
                )),
                _ => Ok(Some(found)),
            };
        }
        let fits = |ingest: &Ingest| wanted_name.is_none_or(|name| name == name_of(&ingest.datakit));
        let mut found = self.ingests.iter().filter(|ingest| fits(ingest));
        match (found.next(), found.count()) {
            (None, _) if selection.datakit.is_none() => Err(self.no_datakit()),
            (first, 0) => Ok(first),
            (_, more) => {
                Err(error(Problem::SeveralIngests { count: more + 1, names: self.names(fits), are_laid_over: false }))
            }
        }
    }

    fn no_datakit(&self) -> ConfigErrors {
        error(Problem::NoDatakit { has_file: self.file.is_some() })
    }

    /// Each fitting ingest as `--ingest` takes it.
    fn names(&self, fits: impl Fn(&Ingest) -> bool) -> Vec<String> {
        let numbered = self.ingests.iter().enumerate().filter(|(_, ingest)| fits(ingest));
        numbered
            .map(|(index, ingest)| match &ingest.name {
                Some(name) => name.clone(),
                None => format!("{} ({})", index + 1, ingest.datakit),
            })
            .collect()
    }

    fn made_up(&self, selection: &Selection) -> Result<Ingest, ConfigErrors> {
        let datakit = selection.datakit.clone().ok_or_else(|| self.no_datakit())?;
        let mut connections = self.connections.values();
        let connection: &Connection = match (connections.next(), connections.len()) {
            (Some(only), 0) => only,
            (None, _) => {
                let name = name_of(&datakit);
                let set =
                    self.makers.connection.iter().map(|variables| format!("set {variables}, ")).collect::<String>();
                return Err(match &self.file {
                    Some(_) => no_ingest(
                        format!("there is no connection to run `{name}` with"),
                        "add [connections.NAME] to the file",
                    ),
                    None => no_ingest(
                        format!("there is no connection to run `{name}` with, and no warehouse.toml here"),
                        &format!("{set}run in the folder of the warehouse.toml, or name the file with --config"),
                    ),
                });
            }
            (Some(_), more) => {
                return Err(no_ingest(
                    format!(
                        "no ingest runs `{}`, and it is not clear which of {} connections is meant",
                        name_of(&datakit),
                        more + 1
                    ),
                    "add an [[ingest]] with `datakit` and `roles` to the file",
                ));
            }
        };
        let mut sinks = self.sinks.keys();
        let sink = match (sinks.next(), sinks.len()) {
            (Some(only), 0) => Some(only.clone()),
            _ => None,
        };
        Ok(Ingest {
            name: None,
            datakit,
            roles: BTreeMap::from([(DEFAULT_ROLE.to_owned(), connection.name().to_owned())]),
            sink,
            tables: TablePatterns::default(),
            keys: Vec::new(),
            settings: Json::Object(serde_json::Map::new()),
            quality: Vec::new(),
            mode: None,
            drift: DriftSetting::default(),
            rejected: None,
            receipt: None,
            parallel: None,
            share_reads: true,
        })
    }
}

fn error(problem: Problem) -> ConfigErrors {
    ConfigError::new(problem, None).into()
}

fn no_ingest(message: String, hint: &str) -> ConfigErrors {
    error(Problem::NoIngest { message, hint: hint.to_owned() })
}

fn name_of(reference: &str) -> &str {
    reference.split('@').next().unwrap_or(reference)
}

/// Lays one JSON value over another: objects key by key, everything else replaced.
fn merge(under: &mut Json, over: &Json) {
    match (under, over) {
        (Json::Object(under), Json::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key.clone()).or_insert(Json::Null), value);
            }
        }
        (under, over) => under.clone_from(over),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_merge_key_by_key() {
        let mut settings = serde_json::json!({ "a": { "x": 1, "y": [1] }, "b": 1 });
        merge(&mut settings, &serde_json::json!({ "a": { "y": [2], "z": null }, "c": true }));
        assert_eq!(settings, serde_json::json!({ "a": { "x": 1, "y": [2], "z": null }, "b": 1, "c": true }));
    }
}

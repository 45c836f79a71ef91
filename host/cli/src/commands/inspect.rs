//! `host inspect`: what a datakit is.

use std::path::Path;

use datakit_config::{Config, Overrides};
use datakit_model::printable;
use datakit_registry::{Digest, Reference, inspect_component};
use serde::Serialize;
use serde_json::Value;

use super::packages::read_component;
use crate::arguments::{InspectDatakit, OutputFormat};
use crate::context::Context;
use crate::report::Reports;

#[derive(Serialize)]
struct Inspected {
    name: String,
    version: String,
    summary: String,
    /// The manifest's; none for a file.
    digest: Option<String>,
    component_digest: String,
    bytes: usize,
    wit_world: String,
    imports: Vec<String>,
    roles: Vec<Role>,
    settings_schema: Value,
}

#[derive(Serialize)]
struct Role {
    name: String,
    kinds: Vec<String>,
    purpose: String,
}

struct Found {
    component: Vec<u8>,
    component_digest: String,
    digest: Option<String>,
}

pub(crate) async fn inspect(arguments: InspectDatakit, context: &Context) -> Result<(), Reports> {
    let config = context.config(Overrides::default())?;
    let found = find(&arguments.datakit, context, &config).await?;
    let wit = inspect_component(&found.component)?;
    let bytes = found.component.len();
    let info = context.runtime(&config)?.load(found.component, &found.component_digest).await?.describe().await?;
    let roles = info.roles.into_iter();
    let inspected = Inspected {
        name: info.name,
        version: info.version,
        summary: info.summary,
        digest: found.digest,
        component_digest: found.component_digest,
        bytes,
        wit_world: wit.wit_world,
        imports: wit.imports,
        roles: roles.map(|role| Role { name: role.name, kinds: role.kinds, purpose: role.purpose }).collect(),
        settings_schema: serde_json::from_str(&info.settings_schema).unwrap_or(Value::String(info.settings_schema)),
    };
    if arguments.output == OutputFormat::Json {
        context.terminal.print_json(&inspected)?;
    } else {
        context.terminal.print(&render(&inspected))?;
    }
    Ok(())
}

/// A file when there is one of that name, else a reference.
async fn find(text: &str, context: &Context, config: &Config) -> Result<Found, Reports> {
    let path = Path::new(text);
    if path.is_file() || text.ends_with(".wasm") {
        let component = read_component(path, config.limits.guest.max_component_bytes).await?;
        let component_digest = Digest::of(&component).as_str().to_owned();
        return Ok(Found { component, component_digest, digest: None });
    }
    let reference: Reference = text.parse()?;
    let artifact = context.registry(config)?.pull(&reference, &context.cache(config)?).await?;
    Ok(Found {
        component: artifact.component,
        component_digest: artifact.component_digest.as_str().to_owned(),
        digest: Some(artifact.digest.as_str().to_owned()),
    })
}

fn render(inspected: &Inspected) -> String {
    let line = printable::line;
    let (name, version, summary) = (line(&inspected.name), line(&inspected.version), line(&inspected.summary));
    let mut text = format!("{name}@{version}\n{summary}\n\n");
    if let Some(digest) = &inspected.digest {
        text.push_str(&format!("digest     {digest}\n"));
    }
    text.push_str(&format!("component  {} ({} bytes)\n", inspected.component_digest, inspected.bytes));
    text.push_str(&format!("world      {}\n", line(&inspected.wit_world)));
    for Role { name, kinds, purpose } in &inspected.roles {
        text.push_str(&format!("role       {} ({}): {}\n", line(name), line(&kinds.join(", ")), line(purpose)));
    }
    text.push_str("\nsettings\n");
    text.push_str(&settings(&inspected.settings_schema));
    text
}

/// A line per setting; the whole schema is in the JSON form.
fn settings(schema: &Value) -> String {
    let Some(properties) = schema["properties"].as_object() else { return "  none\n".to_owned() };
    let mut text = String::new();
    for (name, property) in properties {
        let kind = match &property["type"] {
            Value::String(kind) => kind.clone(),
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
            _ => "see --output json".to_owned(),
        };
        let default = match &property["default"] {
            Value::Null => String::new(),
            default => format!(", default {default}"),
        };
        text.push_str(&format!("  {}\n", printable::line(&format!("{name} ({kind}{default})"))));
        if let Some(description) = property["description"].as_str() {
            let described = description.lines().map(printable::line);
            described.for_each(|line| text.push_str(&format!("      {line}\n")));
        }
    }
    text
}

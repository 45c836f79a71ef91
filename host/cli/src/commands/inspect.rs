//! `host inspect`: what a datakit is.

use datakit_app::{InspectedDatakit, InspectedRole, Reports};
use datakit_model::printable;
use serde_json::Value;

use super::Session;
use crate::arguments::{InspectDatakit, OutputFormat};

pub(super) async fn inspect(arguments: InspectDatakit, session: &Session) -> Result<(), Reports> {
    let inspected = session.answer(datakit_app::inspect(&session.context, &arguments.datakit)).await?;
    match arguments.output {
        OutputFormat::Json => session.terminal.print_json(&inspected)?,
        OutputFormat::Text => session.terminal.print(&render(&inspected))?,
    }
    Ok(())
}

fn render(inspected: &InspectedDatakit) -> String {
    let line = printable::line;
    let (name, version, summary) = (line(&inspected.name), line(&inspected.version), line(&inspected.summary));
    let mut text = format!("{name}@{version}\n{summary}\n\n");
    text.push_str(&format!("digest     {}\n", inspected.digest));
    text.push_str(&format!("component  {} ({} bytes)\n", inspected.component_digest, inspected.bytes));
    text.push_str(&format!("world      {}\n", line(&inspected.wit_world)));
    for InspectedRole { name, kinds, purpose } in &inspected.roles {
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

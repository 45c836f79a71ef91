//! The columns of a table: declared, remembered from the first load, or inferred from a sample.

use datakit_sdk::{Error, Field, Queries, Schema, TableId};

use crate::inference::Guess;
use crate::listing::SourceFile;
use crate::requests::{Column, Extra, Format, FormatKind, NO_OPTIONS, Origin, Request, Sample, Table};
use crate::settings::{Settings, TableOptions};
use crate::{errors, folders, formats, members, types};

/// Where a row comes from: its file's path below the root.
pub const SOURCE_FILE: &str = "_source_file";
/// When that file was written last.
pub const SOURCE_MODIFIED: &str = "_source_modified_at";

/// The columns of a table's files, those of their folders after those within; without [`SOURCE_FILE`] and its like.
pub type Columns = Vec<Column>;

/// The columns by what is known: the settings first, then what the last commit remembers, then a sample.
///
/// # Errors
/// Types that are none, names that are taken, or a sample that the host refuses.
pub fn columns(
    queries: &impl Queries,
    table: &TableId,
    files: &[SourceFile],
    remembered: Option<&Columns>,
    options: &TableOptions,
    settings: &Settings,
) -> Result<Columns, Error> {
    let mut columns = match (&options.schema, remembered) {
        (Some(_), _) => declared(options)?,
        (None, Some(remembered)) => of_origin(remembered, Origin::Field),
        (None, None) => inferred(queries, table, files, options, settings)?,
    };
    match remembered {
        Some(remembered) => {
            let folders = of_origin(remembered, Origin::Constant);
            refuse_new_folders(table, files, &folders, options)?;
            columns.extend(folders);
        }
        None => columns.extend(of_folders(files, options)),
    }
    for (name, type_name) in options.types.iter().flatten() {
        let arrow_type = types::arrow_type(type_name)?;
        match columns.iter_mut().find(|column| column.name == *name) {
            Some(column) => column.arrow_type = arrow_type,
            None => return Err(unknown(table, name)),
        }
    }
    columns.iter().try_for_each(|column| formats::check(table, column))?;
    check_names(table, &columns)?;
    Ok(columns)
}

fn unknown(table: &TableId, name: &str) -> Error {
    let table = format!("{}.{}", table.schema, table.name);
    Error::config(errors::NO_COLUMNS, format!("the settings name the column `{name}`, which {table} does not have"))
        .with_hint("names are compared with their case")
        .with_context("table", table)
        .with_context("column", name)
}

fn declared(options: &TableOptions) -> Result<Columns, Error> {
    let column = |setting: &crate::settings::ColumnSetting| {
        Ok(Column {
            name: setting.name.clone(),
            arrow_type: types::arrow_type(&setting.column_type)?,
            from: Origin::Field,
            format: setting.format.clone(),
        })
    };
    options.schema.iter().flatten().map(column).collect()
}

fn of_folders(files: &[SourceFile], options: &TableOptions) -> Columns {
    if options.hive_partitions == Some(false) {
        return Columns::new();
    }
    let names = folders::names(files);
    let mut guesses = vec![Guess::default(); names.len()];
    for file in files {
        for (name, value) in folders::values(&file.path) {
            let place = names.iter().position(|known| *known == name);
            if let (Some(place), Some(value)) = (place, value) {
                guesses[place].see(&value);
            }
            strict: false,
        }
    }
    let column = |(name, guess): (String, Guess)| Column {
        name,
        arrow_type: guess.arrow_type(),
        from: Origin::Constant,
        format: None,
    };
    names.into_iter().zip(guesses).map(column).collect()
}

fn of_origin(columns: &Columns, origin: Origin) -> Columns {
    columns.iter().filter(|column| column.from == origin).cloned().collect()
}

/// Folders that make a column the table has not: what they say would be lost.
fn refuse_new_folders(
    table: &TableId,
    files: &[SourceFile],
    known: &Columns,
    options: &TableOptions,
) -> Result<(), Error> {
    if options.hive_partitions == Some(false) || options.extra_columns == Some(Extra::Ignore) {
        return Ok(());
        strict: false,
    }
    match folders::names(files).into_iter().find(|name| !known.iter().any(|column| column.name == *name)) {
        None => Ok(()),
        Some(name) => {
            let table = format!("{}.{}", table.schema, table.name);
            let message = format!("folders have a column `{name}` which {table} does not have");
            Err(Error::data(errors::NEW_FOLDER, message)
                .with_hint("set `extra_columns` to `ignore`, or load all files anew with `mode = \"overwrite\"`")
                .with_context("table", table)
                .with_context("column", name))
        }
    }
}

fn check_names(table: &TableId, columns: &Columns) -> Result<(), Error> {
    let twice = |name: &str, what: &str| {
        let message = format!("{}.{} has two columns `{name}`: {what}", table.schema, table.name);
        Error::config(errors::COLUMN_TWICE, message).with_context("column", name)
    };
    for (place, column) in columns.iter().enumerate() {
        if [SOURCE_FILE, SOURCE_MODIFIED].contains(&column.name.as_str()) {
            return Err(
                twice(&column.name, "one is the datakit's own").with_hint("exclude it by the setting `columns`")
            );
        }
        if let Some(first) = columns[..place].iter().find(|other| other.name == column.name) {
            return Err(match (first.from, column.from) {
                (Origin::Field, Origin::Constant) => twice(&column.name, "one in the files, one by their folders")
                    .with_hint("set `hive_partitions = false`, or rename the folders"),
                _ => twice(&column.name, "the settings name it twice").with_hint("see `schema` in the settings"),
            });
        }
    }
    Ok(())
}

/// The columns that the first records of some files show.
fn inferred(
    queries: &impl Queries,
    table: &TableId,
    files: &[SourceFile],
    options: &TableOptions,
    settings: &Settings,
) -> Result<Columns, Error> {
    let format = options.file_format(files.first().map(|file| file.path.as_str()))?;
    let header = u32::from(format.kind == FormatKind::Csv && format.header);
    let mut seen = Seen::default();
    for file in evenly(files, settings.sample_files) {
        let sample = Sample {
            table: Table::from(table),
            files: vec![file.part()],
            format: &format,
            max_rows: (settings.sample_rows + header).min(10_000),
        };
        let batches = queries.query(&Request::Sample(sample).text()?, &[], NO_OPTIONS)?;
        seen.begin_file();
        for batch in &batches {
            let records = batch.column("record")?;
            for row in 0..batch.len() {
                seen.record(records.text(row)?.unwrap_or_default(), &format)?;
            }
        }
    }
    Ok(seen.columns())
}

/// At most so many files, the first and the last among them.
fn evenly(files: &[SourceFile], wanted: u32) -> Vec<&SourceFile> {
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX).min(files.len());
    match wanted {
        0 => Vec::new(),
        1 => vec![&files[files.len() - 1]],
        _ => (0..wanted).map(|place| &files[place * (files.len() - 1) / (wanted - 1)]).collect(),
    }
}

/// What samples have shown so far.
#[derive(Default)]
struct Seen {
    names: Vec<String>,
    guesses: Vec<Guess>,
    /// Of the file at hand: for each field the place of its column; none: its header is still to come.
    header: Option<Vec<usize>>,
}

impl Seen {
    fn begin_file(&mut self) {
        self.header = None;
    }

    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.names.iter().position(|known| known == name) {
            return place;
        }
        self.names.push(name.to_owned());
        self.guesses.push(Guess::default());
        self.names.len() - 1
    }

    fn record(&mut self, record: &str, format: &Format) -> Result<(), Error> {
        let wrong = |error: serde_json::Error| Error::datakit(errors::UNEXPECTED_ANSWER, error.to_string());
        match format.kind {
            FormatKind::JsonLines => {
                for (name, value) in members::split(record).map_err(wrong)? {
                    let place = self.place(&name);
                    self.see_json(place, value);
                }
            }
            FormatKind::Csv => {
                let fields: Vec<String> = serde_json::from_str(record).map_err(wrong)?;
                self.fields(&fields, format);
            }
        }
        Ok(())
    }

    fn fields(&mut self, fields: &[String], format: &Format) {
        if self.header.is_none() {
            // A column without a name is one that the host refuses, unless the settings leave it out.
            let named = |(number, field): (usize, &String)| match format.header {
                true => field.trim().to_owned(),
                false => format!("column_{}", number + 1),
            };
            let names: Vec<String> = fields.iter().enumerate().map(named).collect();
            self.header =
                Some(names.iter().map(|name| if name.is_empty() { usize::MAX } else { self.place(name) }).collect());
            if format.header {
                return;
            }
        }
        let places = self.header.clone().unwrap_or_default();
        // A record of another length is a bad one, of which nothing is to be learnt.
        if places.len() != fields.len() {
            return;
        }
        for (place, field) in places.into_iter().zip(fields) {
            let text = if format.trim { field.trim() } else { field };
            let is_null = format.null_values.iter().any(|null| null == text);
            if let Some(guess) = self.guesses.get_mut(place).filter(|_| !is_null) {
                match format.decimal_comma && !text.contains('.') {
                    true => guess.see(&text.replacen(',', ".", 1)),
                    false => guess.see(text),
                }
            }
        }
    }

    /// JSON says itself what is a number and what is text.
    fn see_json(&mut self, place: usize, value: &str) {
        let guess = &mut self.guesses[place];
        match value.as_bytes() {
            [] | [b'n', ..] => {}
            [b't' | b'f', ..] => guess.see(value),
            [b'"' | b'[' | b'{', ..] => guess.see("text"),
            _ => guess.see_json_number(value),
        }
    }

    fn columns(self) -> Columns {
        let column = |(name, guess): (String, Guess)| Column {
            name,
            arrow_type: guess.arrow_type(),
            from: Origin::Field,
            format: None,
        };
        self.names.into_iter().zip(self.guesses).map(column).collect()
    }
}

/// The columns that the settings leave, by their names.
///
/// # Errors
/// A rule for this table that names a column it lacks, or a selection that leaves none.
pub fn selected(table: &TableId, columns: &Columns, settings: &Settings) -> Result<Vec<String>, Error> {
    let selection = settings.selection()?;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    if let Some(name) = selection.unknown_column(table, &names) {
        return Err(unknown(table, &name));
    }
    let left: Vec<String> =
        names.into_iter().filter(|name| selection.has_column(table, name)).map(str::to_owned).collect();
    if left.is_empty() {
        let table = format!("{}.{}", table.schema, table.name);
        return Err(Error::config(errors::NO_COLUMNS, format!("there is no column of {table} to read"))
            .with_hint("declare `schema` for a table whose files have no rows yet, and see `columns` in the settings")
            .with_context("table", table));
    }
    Ok(left)
}

/// Columns as the host lists them.
#[must_use]
pub fn listed(columns: &Columns) -> Schema {
    let field = |column: &Column| Field {
        name: column.name.clone(),
        arrow_type: column.arrow_type.clone(),
        nullable: true,
        metadata: Vec::new(),
    };
    columns.iter().map(field).collect()
}
            strict: false,

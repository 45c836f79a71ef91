//! Files: formats, requests, folders.

use datakit_columnar::{WireField, schema_from_wire};
use datakit_model::files::{FileColumn, FileFormat, FileOrigin, FilePart, FilesRead, FilesRequest};
use wasmtime::component::Resource;

use super::super::bindings::files::{Host, HostFolder, HostFormat, HostReadRequest};
use super::super::bindings::types::{Error, TableId};
use super::convert::table_from_wire;
use crate::filled::{FileColumnParts, FilesParts};
use crate::state::{FilesHandle, FolderHandle, FormatHandle, ReaderHandle, State, Weight as _};

impl Host for State {}

impl HostFormat for State {
    async fn new(&mut self, kind: String) -> wasmtime::Result<Resource<FormatHandle>> {
        let call = self.budget.host_call()?;
        let bytes = kind.weight();
        let handle = self.push_filled(FileFormat::new(kind), bytes)?;
        self.budget.host_call_ended(call);
        Ok(handle)
    }

    async fn set_header(&mut self, format: Resource<FormatHandle>, header: bool) -> wasmtime::Result<()> {
        self.set(&format, 0, |it| it.header = header)
    }

    async fn set_delimiter(&mut self, format: Resource<FormatHandle>, delimiter: char) -> wasmtime::Result<()> {
        self.set(&format, 0, |it| it.delimiter = delimiter)
    }

    async fn set_quote(&mut self, format: Resource<FormatHandle>, quote: Option<char>) -> wasmtime::Result<()> {
        self.set(&format, 0, |it| it.quote = quote)
    }

    async fn set_escape(&mut self, format: Resource<FormatHandle>, escape: Option<char>) -> wasmtime::Result<()> {
        self.set(&format, 0, |it| it.escape = escape)
    }

    async fn set_comment(&mut self, format: Resource<FormatHandle>, comment: Option<char>) -> wasmtime::Result<()> {
        self.set(&format, 0, |it| it.comment = comment)
    }

    async fn set_skip_lines(&mut self, format: Resource<FormatHandle>, lines: u32) -> wasmtime::Result<()> {
        self.set(&format, 0, |it| it.skip_lines = lines)
    }

    async fn set_encoding(&mut self, format: Resource<FormatHandle>, label: String) -> wasmtime::Result<()> {
        self.set(&format, label.weight(), |it| it.encoding = label)
    }

    async fn set_compression(&mut self, format: Resource<FormatHandle>, compression: String) -> wasmtime::Result<()> {
        self.set(&format, compression.weight(), |it| it.compression = compression)
    }

    async fn set_null_values(&mut self, format: Resource<FormatHandle>, values: Vec<String>) -> wasmtime::Result<()> {
        self.set(&format, values.weight(), |it| it.null_values = values)
    }

    async fn set_trim(&mut self, format: Resource<FormatHandle>, trim: bool) -> wasmtime::Result<()> {
        self.set(&format, 0, |it| it.trim = trim)
    }

    async fn set_decimal_comma(&mut self, format: Resource<FormatHandle>, comma: bool) -> wasmtime::Result<()> {
        self.set(&format, 0, |it| it.decimal_comma = comma)
    }

    async fn drop(&mut self, format: Resource<FormatHandle>) -> wasmtime::Result<()> {
        self.take_filled(format).map(drop)
    }
}

impl HostReadRequest for State {
    async fn new(&mut self, table: TableId, format: Resource<FormatHandle>) -> wasmtime::Result<Resource<FilesHandle>> {
        let call = self.budget.host_call()?;
        let table = table_from_wire(table);
        let (format, format_bytes) = self.take_weighed(format)?;
        let bytes = table.catalog.weight() + table.schema.weight() + table.name.weight() + format_bytes;
        let parts = FilesParts { read: FilesRead::new(table, format), columns: Vec::new() };
        let handle = self.push_filled(parts, bytes)?;
        self.budget.host_call_ended(call);
        Ok(handle)
    }

    async fn add_file(
        &mut self,
        request: Resource<FilesHandle>,
        path: String,
        version: String,
        constants: Vec<Option<String>>,
    ) -> wasmtime::Result<()> {
        let bytes = path.weight() + version.weight() + constants.weight();
        let part = FilePart { path, version, constants, start: 0, end: None };
        self.set(&request, bytes, |it| it.read.files.push(part))
    }

    async fn add_file_range(
        &mut self,
        request: Resource<FilesHandle>,
        path: String,
        version: String,
        constants: Vec<Option<String>>,
        start: u64,
        end: Option<u64>,
    ) -> wasmtime::Result<()> {
        let bytes = path.weight() + version.weight() + constants.weight();
        let part = FilePart { path, version, constants, start, end };
        self.set(&request, bytes, |it| it.read.files.push(part))
    }

    async fn add_column(
        &mut self,
        request: Resource<FilesHandle>,
        name: String,
        arrow_type: String,
        time_format: Option<String>,
        strict: bool,
    ) -> wasmtime::Result<()> {
        let origin = FileOrigin::Field;
        self.add_file_column(&request, FileColumnParts { name, arrow_type, origin, time_format, strict })
    }

    async fn add_constant(
        &mut self,
        request: Resource<FilesHandle>,
        name: String,
        arrow_type: String,
        time_format: Option<String>,
        strict: bool,
    ) -> wasmtime::Result<()> {
        let origin = FileOrigin::Constant;
        self.add_file_column(&request, FileColumnParts { name, arrow_type, origin, time_format, strict })
    }

    async fn add_path(&mut self, request: Resource<FilesHandle>, name: String) -> wasmtime::Result<()> {
        let (arrow_type, origin) = ("Utf8".to_owned(), FileOrigin::Path);
        self.add_file_column(&request, FileColumnParts { name, arrow_type, origin, time_format: None, strict: false })
    }

    async fn add_modified(&mut self, request: Resource<FilesHandle>, name: String) -> wasmtime::Result<()> {
        let (arrow_type, origin) = ("Timestamp(us, UTC)".to_owned(), FileOrigin::Modified);
        self.add_file_column(&request, FileColumnParts { name, arrow_type, origin, time_format: None, strict: false })
    }

    async fn set_missing_columns_null(
        &mut self,
        request: Resource<FilesHandle>,
        as_null: bool,
    ) -> wasmtime::Result<()> {
        self.set(&request, 0, |it| it.read.missing_columns_null = as_null)
    }

    async fn set_extra_columns_ignored(
        &mut self,
        request: Resource<FilesHandle>,
        ignored: bool,
    ) -> wasmtime::Result<()> {
        self.set(&request, 0, |it| it.read.extra_columns_ignored = ignored)
    }

    async fn set_max_rejected_rows(&mut self, request: Resource<FilesHandle>, rows: u64) -> wasmtime::Result<()> {
        self.set(&request, 0, |it| it.read.max_rejected_rows = rows)
    }

    async fn drop(&mut self, request: Resource<FilesHandle>) -> wasmtime::Result<()> {
        self.take_filled(request).map(drop)
    }
}

impl HostFolder for State {
    async fn open(&mut self, role: String) -> wasmtime::Result<Result<Resource<FolderHandle>, Error>> {
        let call = self.budget.host_call()?;
        let opened = self.connect("files.folder.open", &role).await?;
        self.budget.host_call_ended(call);
        match opened {
            Ok(handle) => Ok(Ok(self.push(FolderHandle(handle))?)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    async fn list_files(
        &mut self,
        folder: Resource<FolderHandle>,
    ) -> wasmtime::Result<Result<Resource<ReaderHandle>, Error>> {
        self.read_files(&folder, FilesRequest::List).await
    }

    async fn sample(
        &mut self,
        folder: Resource<FolderHandle>,
        request: Resource<FilesHandle>,
        max_rows: u32,
    ) -> wasmtime::Result<Result<Resource<ReaderHandle>, Error>> {
        let read = FilesRead { columns: Vec::new(), ..self.take_filled(request)?.read };
        self.read_files(&folder, FilesRequest::Sample { read, max_rows }).await
    }

    async fn read(
        &mut self,
        folder: Resource<FolderHandle>,
        request: Resource<FilesHandle>,
    ) -> wasmtime::Result<Result<Resource<ReaderHandle>, Error>> {
        let parts = self.take_filled(request)?;
        let columns = columns(parts.columns, &self.limits);
        match self.guest_error(columns) {
            Ok(columns) => self.read_files(&folder, FilesRequest::Read(FilesRead { columns, ..parts.read })).await,
            Err(error) => Ok(Err(error)),
        }
    }

    async fn drop(&mut self, folder: Resource<FolderHandle>) -> wasmtime::Result<()> {
        self.delete(folder)?;
        Ok(())
    }
}

impl State {
    fn add_file_column(&mut self, request: &Resource<FilesHandle>, column: FileColumnParts) -> wasmtime::Result<()> {
        let bytes = column.name.weight() + column.arrow_type.weight() + column.time_format.weight();
        self.set(request, bytes, |it| it.columns.push(column))
    }

    async fn read_files(
        &mut self,
        folder: &Resource<FolderHandle>,
        request: FilesRequest,
    ) -> wasmtime::Result<Result<Resource<ReaderHandle>, Error>> {
        let call = self.budget.host_call()?;
        self.release_covering();
        let (held_bytes, idle) = self.held_while_waiting(None);
        let (starved, handle) = (self.starved(), &self.table.get(folder)?.0);
        let memory = handle.memory.clone();
        let started = memory.holding(held_bytes, &idle, handle.connection.files(request)).await.map_err(starved)?;
        self.budget.host_call_ended(call);
        self.started(started, memory)
    }
}

/// The columns with their types read.
fn columns(
    columns: Vec<FileColumnParts>,
    limits: &datakit_model::GuestLimits,
) -> Result<Vec<FileColumn>, datakit_columnar::ColumnarError> {
    let fields = columns.iter().map(|column| WireField {
        name: column.name.clone(),
        arrow_type: column.arrow_type.clone(),
        nullable: true,
        metadata: Vec::new(),
    });
    let schema = schema_from_wire(&fields.collect::<Vec<_>>(), limits)?;
    let typed = columns.into_iter().zip(schema.fields()).map(|(column, field)| FileColumn {
        name: column.name,
        data_type: field.data_type().clone(),
        origin: column.origin,
        time_format: column.time_format,
        strict: column.strict,
    });
    Ok(typed.collect())
}

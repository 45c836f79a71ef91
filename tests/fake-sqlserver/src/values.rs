//! What a result is made of: types as declared, values as stored, errors as SQL Server numbers them.
//!
//! This is the boundary between the half that speaks TDS and the half that answers T-SQL: neither knows more of the
//! other than these types and the traits of [`crate::engine`]. Facts follow MS-TDS 2.2.5.4 and 2.2.5.5 and the
//! documentation of SQL Server's types.

/// The declared length of a variable-length type: characters of one byte for `varchar`, bytes for `varbinary`, UTF-16
/// code units for `nvarchar`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Length {
    /// A bound: 1 to 8,000 (4,000 for `nvarchar`).
    Limited(u16),
    /// `(max)`: up to 2 GiB, sent in chunks.
    Max,
}

/// A type of SQL Server, as declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are SQL Server's own type names")]
pub enum SqlType {
    Bit,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Real,
    Float,
    /// Precision 1 to 38, scale 0 to precision.
    Decimal {
        precision: u8,
        scale: u8,
    },
    /// As [`SqlType::Decimal`]; only the name differs.
    Numeric {
        precision: u8,
        scale: u8,
    },
    Money,
    SmallMoney,
    Date,
    /// Scale 0 to 7: fraction digits of a second.
    Time {
        scale: u8,
    },
    DateTime,
    SmallDateTime,
    /// Scale 0 to 7.
    DateTime2 {
        scale: u8,
    },
    /// Scale 0 to 7.
    DateTimeOffset {
        scale: u8,
    },
    /// Length in bytes of the collation's code page, 1 to 8,000. Values are sent as they are: padding is the engine's.
    Char {
        length: u16,
    },
    VarChar(Length),
    /// Length in UTF-16 code units, 1 to 4,000.
    NChar {
        length: u16,
    },
    NVarChar(Length),
    Text,
    NText,
    Xml,
    /// Sent as the native type to clients that ask for it when they log in, else as `varchar(max)` in UTF-8.
    Json,
    /// Length in bytes, 1 to 8,000.
    Binary {
        length: u16,
    },
    VarBinary(Length),
    Image,
    /// `rowversion`, also called `timestamp`: 8 bytes.
    RowVersion,
    UniqueIdentifier,
    SqlVariant,
    HierarchyId,
    Geometry,
    Geography,
}

/// How the text of a `char`, `varchar` or `text` column is coded, and which five bytes say so on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Collation {
    /// `SQL_Latin1_General_CP1_CI_AS`: code page 1252, SQL Server's default outside Asia.
    #[default]
    Latin1,
    /// `Latin1_General_100_CI_AS_SC_UTF8`.
    Utf8,
    /// Any other Windows collation of code page 1252, by its five bytes (MS-TDS 2.2.5.1.2).
    Raw([u8; 5]),
}

impl Collation {
    /// The five bytes of the wire: LCID, flags, version, and the sort id of old SQL collations.
    pub fn bytes(self) -> [u8; 5] {
        match self {
            Self::Latin1 => [0x09, 0x04, 0xd0, 0x00, 0x34],
            Self::Utf8 => [0x09, 0x04, 0xd0, 0x24, 0x00],
            Self::Raw(bytes) => bytes,
        }
    }

    /// Whether text is coded as UTF-8: a flag of the wire form.
    pub fn is_utf8(self) -> bool {
        u32::from_le_bytes([self.bytes()[0], self.bytes()[1], self.bytes()[2], self.bytes()[3]]) & 0x0400_0000 != 0
    }
}

/// One column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name as the client sees it; may be empty (an expression without an alias).
    pub name: String,
    /// Declared type.
    pub sql_type: SqlType,
    /// Whether nulls may come.
    pub nullable: bool,
    /// Whether this is the table's IDENTITY column.
    pub identity: bool,
    /// Whether this is an expression rather than a column of a table.
    pub computed: bool,
    /// Coding of `char`, `varchar` and `text`; ignored for other types.
    pub collation: Collation,
    /// For `text`, `ntext` and `image`: the parts of the table's name, which the wire format carries.
    pub table: Vec<String>,
}

impl Column {
    /// A nullable column of the default collation.
    pub fn new(name: impl Into<String>, sql_type: SqlType) -> Self {
        Self {
            name: name.into(),
            sql_type,
            nullable: true,
            identity: false,
            computed: false,
            collation: Collation::default(),
            table: Vec::new(),
        }
    }

    /// The same column, NOT NULL.
    #[must_use]
    pub fn not_null(mut self) -> Self {
        self.nullable = false;
        self
    }
}

/// One value. Its variant must fit the column's type; the encoder says so (error 8114) when it does not.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Null of any type.
    Null,
    /// `bit`.
    Bit(bool),
    /// `tinyint`, `smallint`, `int`, `bigint`; the encoder checks the range (error 220).
    Int(i64),
    /// `real`.
    Real(f32),
    /// `float`.
    Float(f64),
    /// `decimal`, `numeric`, `money`, `smallmoney`: `unscaled × 10^-scale`. The encoder brings it to the column's scale
    /// and refuses to lose digits.
    Decimal {
        /// The digits, as one integer.
        unscaled: i128,
        /// How many of them are fraction digits.
        scale: u8,
    },
    /// Any text type: `char` and `varchar` are coded into the column's code page (what it lacks becomes `?`, as SQL
    /// Server does), `nchar` and `nvarchar` into UTF-16.
    Text(String),
    /// `nchar`, `nvarchar`, `ntext`, `xml` by UTF-16 code units: the only way to send a lone surrogate.
    Utf16(Vec<u16>),
    /// `binary`, `varbinary`, `image`, `rowversion`, the CLR types; for `char`, `varchar` and `text` the bytes of the code
    /// page as they are.
    Bytes(Vec<u8>),
    /// `date`: days since 0001-01-01.
    Date {
        /// 0 to 3,652,058.
        days: u32,
    },
    /// `time`: 100 ns ticks since midnight whatever the column's scale; the encoder drops what the scale lacks.
    Time {
        /// 0 to 863,999,999,999.
        ticks: u64,
    },
    /// `datetime`: its own resolution of 1/300 s.
    DateTime {
        /// Days since 1900-01-01, from -53,690 (1753-01-01).
        days: i32,
        /// 1/300 s since midnight, 0 to 25,919,999.
        three_hundredths: u32,
    },
    /// `smalldatetime`.
    SmallDateTime {
        /// Days since 1900-01-01.
        days: u16,
        /// Minutes since midnight, 0 to 1,439.
        minutes: u16,
    },
    /// `datetime2`.
    DateTime2 {
        /// Days since 0001-01-01.
        days: u32,
        /// 100 ns ticks since midnight.
        ticks: u64,
    },
    /// `datetimeoffset`: date and time **in UTC**, the offset beside them.
    DateTimeOffset {
        /// Days since 0001-01-01, UTC.
        days: u32,
        /// 100 ns ticks since midnight, UTC.
        ticks: u64,
        /// Minutes east of UTC, -840 to 840.
        offset_minutes: i16,
    },
    /// `uniqueidentifier`, in the order of RFC 4122 (as printed); the encoder swaps to SQL Server's wire order.
    Uuid([u8; 16]),
    /// `sql_variant`: a value with its base type (no `max` type, no `text`, no `xml`, no CLR type).
    Variant(Box<Variant>),
}

/// The content of a `sql_variant`.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// The base type.
    pub sql_type: SqlType,
    /// Coding of `char` and `varchar`.
    pub collation: Collation,
    /// The value; not null.
    pub value: Value,
}

/// An error or message with SQL Server's own number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// 208 invalid object, 207 invalid column, 102 syntax, 8134 division by zero, 18456 login failed, …
    pub number: i32,
    /// Where in the server it was raised; 1 unless known.
    pub state: u8,
    /// Severity: 0–10 a message, 11–16 the user's error, 20+ ends the connection.
    pub class: u8,
    /// The text.
    pub message: String,
    /// Line of the batch, from 1.
    pub line: u32,
}

impl SqlError {
    /// An error of severity 16 in line 1.
    pub fn new(number: i32, message: impl Into<String>) -> Self {
        Self { number, state: 1, class: 16, message: message.into(), line: 1 }
    }

    /// The same with another severity.
    #[must_use]
    pub fn with_class(mut self, class: u8) -> Self {
        self.class = class;
        self
    }

    /// The same with another state.
    #[must_use]
    pub fn with_state(mut self, state: u8) -> Self {
        self.state = state;
        self
    }

    /// The same in another line.
    #[must_use]
    pub fn at_line(mut self, line: u32) -> Self {
        self.line = line;
        self
    }
}

impl std::fmt::Display for SqlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Msg {}, Level {}, State {}, Line {}: {}",
            self.number, self.class, self.state, self.line, self.message
        )
    }
}

impl std::error::Error for SqlError {}

//! The ERP's tables and views, in T-SQL.

/// Schemas and tables, batches parted by GO.
pub const TABLES: &str = "\
CREATE SCHEMA sales
GO
CREATE SCHEMA finance
GO
CREATE SCHEMA hr
GO
CREATE SCHEMA warehouse
GO
CREATE SCHEMA archive
GO
CREATE SCHEMA [odd.schema]
GO
CREATE TABLE sales.customers (
    customer_id int NOT NULL,
    name nvarchar(80) NOT NULL,
    email varchar(120) NULL,
    segment char(3) NOT NULL,
    credit_limit money NULL,
    vat_number nchar(12) NULL,
    is_active bit NOT NULL,
    created_at datetime2(3) NOT NULL,
    notes nvarchar(max) NULL,
    row_version rowversion NOT NULL,
    CONSTRAINT PK_customers PRIMARY KEY CLUSTERED (customer_id)
)
GO
CREATE TABLE sales.addresses (
    address_id int NOT NULL PRIMARY KEY,
    customer_id int NOT NULL,
    kind tinyint NOT NULL,
    street nvarchar(100) NOT NULL,
    city nvarchar(60) NOT NULL,
    postal_code varchar(10) NULL,
    country char(2) NOT NULL,
    latitude float NULL,
    longitude float NULL,
    CONSTRAINT FK_addresses_customers FOREIGN KEY (customer_id) REFERENCES sales.customers (customer_id)
)
GO
CREATE TABLE sales.products (
    product_id uniqueidentifier NOT NULL PRIMARY KEY,
    sku varchar(20) NOT NULL,
    name nvarchar(100) NOT NULL,
    list_price smallmoney NOT NULL,
    weight_kg real NULL,
    specification xml NULL,
    attributes nvarchar(max) NULL,
    picture varbinary(max) NULL,
    discontinued_on date NULL
)
GO
CREATE TABLE sales.orders (
    order_id bigint NOT NULL,
    customer_id int NOT NULL,
    placed_at datetime NOT NULL,
    requested_on smalldatetime NULL,
    status varchar(12) NOT NULL,
    total decimal(18, 4) NOT NULL,
    currency char(3) NOT NULL,
    external_id uniqueidentifier NOT NULL,
    comment ntext NULL,
    CONSTRAINT PK_orders PRIMARY KEY CLUSTERED (order_id)
)
GO
CREATE TABLE sales.order_lines (
    order_id bigint NOT NULL,
    line_number smallint NOT NULL,
    product_id uniqueidentifier NOT NULL,
    quantity int NOT NULL,
    unit_price decimal(18, 4) NOT NULL,
    discount numeric(5, 4) NULL,
    shipped_on date NULL,
    CONSTRAINT PK_order_lines PRIMARY KEY CLUSTERED (order_id, line_number)
)
GO
CREATE TABLE sales.Payments (
    payment_id bigint NOT NULL PRIMARY KEY,
    invoice_number varchar(20) NOT NULL,
    amount money NOT NULL,
    paid_at datetimeoffset(3) NOT NULL,
    method varchar(10) NOT NULL,
    reference binary(16) NULL
)
GO
CREATE TABLE finance.invoices (
    invoice_number varchar(20) NOT NULL PRIMARY KEY,
    order_id bigint NOT NULL,
    issued_on date NOT NULL,
    due_on date NULL,
    net decimal(18, 2) NOT NULL,
    tax decimal(18, 2) NOT NULL,
    document image NULL
)
GO
CREATE TABLE finance.exchange_rates (
    valid_on date NOT NULL PRIMARY KEY,
    usd decimal(28, 10) NOT NULL,
    gbp decimal(28, 10) NOT NULL,
    jpy decimal(38, 10) NULL
)
GO
CREATE TABLE hr.employees (
    employee_id int IDENTITY(1, 1) NOT NULL PRIMARY KEY,
    [first name] nvarchar(40) NOT NULL,
    [last name] nvarchar(40) NOT NULL,
    manager_id int NULL,
    hired_on date NOT NULL,
    shift_starts time(0) NULL,
    salary money NULL,
    position hierarchyid NULL,
    curriculum text NULL,
    badge varbinary(64) NULL
)
GO
CREATE TABLE warehouse.[Stock Movements] (
    [movement id] bigint NOT NULL PRIMARY KEY,
    [product id] uniqueidentifier NOT NULL,
    [delta] int NOT NULL,
    [moved at] datetime2(7) NOT NULL,
    [Bin.Location] varchar(10) NULL,
    [user] sysname NOT NULL,
    [measured] real NULL
)
GO
CREATE TABLE dbo.audit_log (
    logged_at datetime2(7) NOT NULL,
    actor nvarchar(128) NOT NULL,
    action varchar(20) NOT NULL,
    detail nvarchar(400) NULL,
    old_value sql_variant NULL,
    new_value sql_variant NULL
)
GO
CREATE TABLE dbo.events (
    event_id bigint NOT NULL PRIMARY KEY,
    kind smallint NOT NULL,
    took time(7) NULL,
    payload varchar(200) NULL
)
GO
CREATE TABLE dbo.all_types (
    id int NOT NULL,
    c_bit bit NULL, c_tinyint tinyint NULL, c_smallint smallint NULL, c_int int NULL, c_bigint bigint NULL,
    c_real real NULL, c_float float NULL,
    c_decimal_18_4 decimal(18, 4) NULL, c_decimal_38_0 decimal(38, 0) NULL, c_decimal_38_38 decimal(38, 38) NULL,
    c_numeric numeric(9, 2) NULL, c_money money NULL, c_smallmoney smallmoney NULL,
    c_date date NULL, c_time_0 time(0) NULL, c_time_7 time(7) NULL, c_datetime datetime NULL, c_smalldatetime smalldatetime NULL,
    c_datetime2_0 datetime2(0) NULL, c_datetime2_3 datetime2(3) NULL, c_datetime2_7 datetime2(7) NULL,
    c_datetimeoffset datetimeoffset(7) NULL,
    c_char char(10) NULL, c_varchar varchar(50) NULL, c_varchar_max varchar(max) NULL,
    c_nchar nchar(10) NULL, c_nvarchar nvarchar(50) NULL, c_nvarchar_max nvarchar(max) NULL,
    c_text text NULL, c_ntext ntext NULL, c_xml xml NULL, c_json json NULL,
    c_binary binary(8) NULL, c_varbinary varbinary(50) NULL, c_varbinary_max varbinary(max) NULL, c_image image NULL,
    c_rowversion rowversion NOT NULL, c_uniqueidentifier uniqueidentifier NULL,
    c_sql_variant sql_variant NULL, c_hierarchyid hierarchyid NULL, c_geometry geometry NULL, c_geography geography NULL,
    CONSTRAINT PK_all_types PRIMARY KEY CLUSTERED (id)
)
GO
CREATE TABLE [odd.schema].[order]]s \"2024\" 🦀, naïve; größe=1] (
    [id] int NOT NULL PRIMARY KEY,
    [a.b] nvarchar(20) NULL,
    [c]]d] int NULL,
    [it's \"quoted\"] varchar(20) NULL,
    [select] bit NULL,
    [ leading space] int NULL,
    [Straße 日本 🚀] nvarchar(20) NULL,
    [100%_[x] float NULL
)
GO
CREATE TABLE [odd.schema].[select] (
    [from] int NOT NULL PRIMARY KEY,
    [where] nvarchar(20) NULL,
    [order] int NULL,
    [group] varchar(20) NULL,
    [table] bit NULL,
    [key] int NULL,
    [index] nvarchar(20) NULL,
    [user] float NULL
)
GO
CREATE TABLE archive.orders_2019 (
    order_id bigint NOT NULL PRIMARY KEY,
    customer_id int NOT NULL,
    placed_at datetime NOT NULL,
    total decimal(18, 4) NOT NULL
)
";

/// The views.
pub const VIEWS: &str = "\
CREATE VIEW sales.open_orders AS
SELECT o.order_id, c.name AS customer, o.placed_at, o.total, o.currency
FROM sales.orders AS o
JOIN sales.customers AS c ON c.customer_id = o.customer_id
WHERE o.status = 'open'
";

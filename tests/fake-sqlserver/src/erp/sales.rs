//! Customers, orders, and what follows from them.

use super::Rows;
use super::random::{Random, text};
use crate::values::Value;

const FIRST: [&str; 12] =
    ["Ada", "Björn", "Chloé", "Dmitri", "Émile", "Fatima", "Günter", "Hiro", "Ines", "Jürgen", "Łucja", "Zoë"];
const LAST: [&str; 12] = [
    "Ångström",
    "Brown",
    "Čapek",
    "Dvořák",
    "Ericsson",
    "Fernández",
    "Groß",
    "O'Neill",
    "Müller",
    "Nguyễn",
    "Пушкин",
    "山田",
];
const CITIES: [&str; 8] = ["Zürich", "København", "São Paulo", "Kraków", "München", "大阪", "Québec", "St. John's"];

/// How many customers a scale has.
pub fn customer_count(scale: u64) -> u64 {
    scale / 10
}

/// How many orders a scale has: three lines to an order.
pub fn order_count(scale: u64) -> u64 {
    scale / 3
}

/// How many products a scale has.
pub fn product_count(scale: u64) -> u64 {
    (scale / 50).max(10)
}

fn name(random: &mut Random) -> String {
    format!("{} {}", random.one(&FIRST), random.one(&LAST))
}

/// The identifier of a product: the same wherever it is named.
pub fn product_id(number: u64) -> Value {
    Random::of(3, number).uuid()
}

/// `sales.customers`
pub fn customers(scale: u64) -> Rows {
    Box::new((0..customer_count(scale)).map(|row| {
        let random = &mut Random::of(1, row);
        let name = name(random);
        vec![
            Value::Int(row as i64 + 1),
            text(name.clone()),
            random
                .or_null(9, |random| text(format!("customer{row}@{}.example", random.one(&["mail", "corp", "shop"])))),
            text(random.one(&["A", "B2", "VIP"])),
            random.or_null(5, |random| random.amount(1_000_000_000)),
            random.or_null(3, |random| text(format!("DE{:09}", random.below(1_000_000_000)))),
            Value::Bit(!random.rarely(12)),
            Value::DateTime2 { days: random.day(), ticks: random.below(86_400_000) * 10_000 },
            random.or_null(2, |random| {
                text(format!("{name}: {}", "prefers e-mail – never phone. ".repeat(random.below(4) as usize)))
            }),
            Value::Bytes((row + 1).to_be_bytes().to_vec()),
        ]
    }))
}

/// `sales.addresses`: one or two for each customer.
pub fn addresses(scale: u64) -> Rows {
    let customers = customer_count(scale);
    Box::new((0..customers * 3 / 2).map(move |row| {
        let random = &mut Random::of(2, row);
        vec![
            Value::Int(row as i64 + 1),
            Value::Int((row % customers) as i64 + 1),
            Value::Int(i64::from(row >= customers)),
            text(format!(
                "{} {}",
                random.one(&["Rue de l'Église", "Hauptstraße", "Main St", "ul. Długa"]),
                random.below(200) + 1
            )),
            text(random.one(&CITIES)),
            random.or_null(15, |random| text(format!("{:05}", random.below(100_000)))),
            text(random.one(&["DE", "FR", "PL", "JP", "BR"])),
            random.or_null(4, |random| Value::Float(random.below(180_000_000) as f64 / 1e6 - 90.0)),
            random.or_null(4, |random| Value::Float(random.below(360_000_000) as f64 / 1e6 - 180.0)),
        ]
    }))
}

/// `sales.products`, keyed by uniqueidentifier.
pub fn products(scale: u64) -> Rows {
    Box::new((0..product_count(scale)).map(|row| {
        let random = &mut Random::of(4, row);
        vec![
            product_id(row),
            text(format!("SKU-{row:06}")),
            text(format!("{} {}", random.one(&["Schraube", "Écrou", "Bolt", "ナット"]), random.below(1000))),
            Value::Decimal { unscaled: i128::from(random.below(2_000_000_000)), scale: 4 },
            random.or_null(6, |random| Value::Real(random.below(100_000) as f32 / 1000.0)),
            random.or_null(4, |random| text(format!("<spec><size unit=\"mm\">{}</size></spec>", random.below(500)))),
            random.or_null(4, |random| text(format!("{{\"colour\":\"{}\"}}", random.one(&["blau", "rouge", "żółty"])))),
            random.or_null(3, |random| {
                let length = random.below(600) as usize;
                Value::Bytes((0..length).map(|at| (at * 31 + row as usize) as u8).collect())
            }),
            if random.rarely(10) { Value::Date { days: random.day() } } else { Value::Null },
        ]
    }))
}

/// `sales.orders`: the key is skewed, dense for years and then leaping.
pub fn orders(scale: u64) -> Rows {
    let customers = customer_count(scale);
    let count = order_count(scale);
    Box::new((0..count).map(move |row| {
        let random = &mut Random::of(5, row);
        vec![
            Value::Int(order_id(row, count)),
            Value::Int(random.below(customers) as i64 + 1),
            Value::DateTime {
                days: 43_465 + random.int(2_190) as i32,
                three_hundredths: random.below(25_920_000) as u32,
            },
            random.or_null(3, |random| Value::SmallDateTime {
                days: 43_500 + random.below(2_190) as u16,
                minutes: random.below(1_440) as u16,
            }),
            text(random.one(&["open", "shipped", "billed", "cancelled"])),
            random.amount(500_000_000),
            text(random.one(&["EUR", "USD", "JPY"])),
            random.uuid(),
            if random.rarely(20) { text("Bitte nicht vor 9 Uhr – s'il vous plaît 🙏") } else { Value::Null },
        ]
    }))
}

/// The number of an order: nine of ten are dense, the rest lie thousands apart.
pub fn order_id(row: u64, count: u64) -> i64 {
    let dense = count * 9 / 10;
    let id = if row < dense { row + 1 } else { dense + (row - dense + 1) * 5_003 };
    i64::try_from(id).unwrap_or(i64::MAX)
}

/// `sales.order_lines`, with a key of two columns.
pub fn order_lines(scale: u64) -> Rows {
    let (orders, products) = (order_count(scale), product_count(scale));
    Box::new((0..scale).map(move |row| {
        let random = &mut Random::of(6, row);
        let order = (row / 3).min(orders.saturating_sub(1));
        vec![
            Value::Int(order_id(order, orders)),
            Value::Int((row - order * 3) as i64 + 1),
            product_id(random.below(products)),
            Value::Int(random.int(50) + 1),
            random.amount(10_000_000),
            random.or_null(2, |random| Value::Decimal { unscaled: i128::from(random.below(10_000)), scale: 4 }),
            random.or_null(3, |random| Value::Date { days: random.day() }),
        ]
    }))
}

fn invoice_number(row: u64) -> String {
    format!("INV-{}-{row:07}", 2019 + row % 6)
}

/// `finance.invoices`, keyed by text: one for every other order.
pub fn invoices(scale: u64) -> Rows {
    let orders = order_count(scale);
    Box::new((0..orders / 2).map(move |row| {
        let random = &mut Random::of(7, row);
        let issued = random.day();
        let net = i128::from(random.below(5_000_000));
        vec![
            text(invoice_number(row)),
            Value::Int(order_id(row * 2, orders)),
            Value::Date { days: issued },
            random.or_null(7, |_| Value::Date { days: issued + 30 }),
            Value::Decimal { unscaled: net, scale: 2 },
            Value::Decimal { unscaled: net * 19 / 100, scale: 2 },
            if random.rarely(25) { Value::Bytes(format!("%PDF-1.4 {row}").into_bytes()) } else { Value::Null },
        ]
    }))
}

/// `sales.Payments`
pub fn payments(scale: u64) -> Rows {
    let invoices = order_count(scale) / 2;
    Box::new((0..invoices * 4 / 5).map(move |row| {
        let random = &mut Random::of(8, row);
        vec![
            Value::Int(1_000_000_000_000 + row as i64),
            text(invoice_number(random.below(invoices))),
            random.amount(500_000_000),
            Value::DateTimeOffset {
                days: random.day(),
                ticks: random.below(86_400_000) * 10_000,
                offset_minutes: random.int(27) as i16 * 60 - 720,
            },
            text(random.one(&["card", "wire", "cash", "sepa"])),
            random
                .or_null(6, |random| Value::Bytes([random.bits().to_be_bytes(), random.bits().to_be_bytes()].concat())),
        ]
    }))
}

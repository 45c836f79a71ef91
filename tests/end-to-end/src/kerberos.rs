//! A world with a Kerberos realm.

use std::path::{Path, PathBuf};
use std::process::Command;

use datakit_fake_sqlserver::kdc::{Kdc, KdcOptions};
use datakit_fake_sqlserver::server::Options;
use datakit_fake_sqlserver::sql::SqlEngineOptions;

use crate::mssql::Mssql;
use crate::output::Output;
use crate::world::World;

/// The host and port under which the SQL Server is registered, besides those it listens on.
const ALIAS: &str = "MSSQLSvc/sql.corp.example:1433";

/// A world whose SQL Server takes tickets, with the realm they come from. The account `svc-etl` has a keytab.
pub struct KerberosWorld {
    /// The realm.
    pub kdc: Kdc,
    /// The rest.
    pub world: World,
    /// The keytab of `svc-etl`.
    pub keytab: PathBuf,
}

impl KerberosWorld {
    /// A realm with default options; none where the environment names a server, which is of another realm.
    pub fn new(script: &str) -> Option<Self> {
        Self::with(&KdcOptions::default(), script)
    }

    /// A realm with given options.
    pub fn with(options: &KdcOptions, script: &str) -> Option<Self> {
        Self::with_server(options, Options::default(), "localhost", script)
    }

    /// A realm whose SQL Server lets only these principals in.
    pub fn with_logins(principals: &[&str], script: &str) -> Option<Self> {
        let kerberos_logins = principals.iter().map(|&principal| principal.to_owned()).collect();
        let options = Options { kerberos_logins, ..Options::default() };
        Self::with_server(&KdcOptions::default(), options, "localhost", script)
    }

    /// A realm whose SQL Server has given options and listens at this host.
    pub fn with_server(options: &KdcOptions, server: Options, host: &str, script: &str) -> Option<Self> {
        let kdc = Kdc::start(options).unwrap();
        let keytab = kdc.add_with_keytab(ALIAS, "", "mssql.keytab").unwrap();
        let options = Options { keytab: Some(keytab), ..server };
        let reason = "only the fake SQL Server is of the realm that a test makes";
        let mut mssql = Mssql::fake_sqlserver_for(reason, options, SqlEngineOptions::default())?;
        mssql.host = host.to_owned();
        let world = World::with(mssql, script);
        kdc.add_with_keytab(&format!("MSSQLSvc/localhost:{}", world.mssql.port), "", "mssql.keytab").unwrap();
        let keytab = kdc.add_with_keytab("svc-etl", "", "svc-etl.keytab").unwrap();
        Some(Self { kdc, world, keytab })
    }

    /// Makes the connection log in with Kerberos; `kerberos` are the keys of its table.
    pub fn log_in_with(&self, kerberos: &str) {
        let text = std::fs::read_to_string(self.world.path().join("warehouse.toml")).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("kerberos = "));
        let lines = lines.map(|line| match line.starts_with("auth = ") {
            true => format!("auth = \"kerberos\"\nkerberos = {{ {kerberos} }}\n"),
            false => format!("{line}\n"),
        });
        self.world.write("warehouse.toml", &lines.collect::<String>());
    }

    /// Makes it log in with the keytab of `svc-etl`, and these keys more.
    pub fn log_in_with_keytab(&self, more: &str) {
        self.log_in_with(&keytab_keys(&self.keytab, more));
    }

    /// `host` in the world's folder, knowing the realm.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        // A password alone would only be warned of.
        command.env("KRB5_CONFIG", self.kdc.krb5_conf()).env_remove("MSSQL_PASSWORD");
        command
    }

    /// Runs `host` to its end.
    pub fn host(&self, arguments: &[&str]) -> Output {
        self.world.finish(self.command(arguments))
    }

    /// Runs `host` as it should not go, and gives what it says, for a golden file.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str]) -> String {
        self.refusal(&self.host(arguments))
    }

    /// What a failed command says, for a golden file.
    #[track_caller]
    pub fn refusal(&self, output: &Output) -> String {
        let text = self.world.refusal(output);
        text.replace(self.kdc.path("").to_str().unwrap(), "[realm]/")
    }

    /// Who logged in at the server, each once.
    pub fn principals(&self) -> Vec<String> {
        let mut principals: Vec<String> = self.world.mssql.kerberos_logins().into_iter().map(|l| l.principal).collect();
        principals.sort();
        principals.dedup();
        principals
    }
}

/// The keys of a login of `svc-etl` with a keytab.
pub(crate) fn keytab_keys(keytab: &Path, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { ", " };
    format!("principal = \"svc-etl@CORP.EXAMPLE\", keytab = {{ file = \"{}\" }}{comma}{more}", keytab.display())
}

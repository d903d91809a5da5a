//! `wasmill new`: a folder that builds, tests and runs, from a template that is in this program.

mod name;

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::json;

use self::name::check_name;
use super::output::{list, say, say_json, table};
use crate::templates::{Manifest, Need, TEMPLATES, Template, fill_in};

/// How much a misspelt language must look like a known one to be taken for it: `pyton` does, `java` and `cobol` do not.
const LIKENESS_MIN: f64 = 0.89;

/// Make a folder with a handler in the language of your choice, its tests and its configuration
#[derive(Debug, clap::Args)]
pub(super) struct NewArguments {
    /// What to call the handler and its folder, in lower case with dashes: quake-alert
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Its language; --list shows them
    #[arg(long, value_name = "LANGUAGE", required_unless_present = "list")]
    lang: Option<String>,
    /// Show the languages that there are templates for
    #[arg(long, conflicts_with_all = ["name", "lang"])]
    list: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &NewArguments) -> Result<()> {
    let known = TEMPLATES.iter().map(|template| Ok((template, template.manifest()?)));
    let known: Vec<(&Template, Manifest)> = known.collect::<Result<_>>()?;
    let (Some(name), Some(lang)) = (&arguments.name, &arguments.lang) else {
        return show(&known, arguments.json);
    };
    check_name(name)?;
    let (template, manifest) = find(&known, lang)?;
    let files = template.files(name)?;
    write(Path::new(name), &files)?;
    let missing: Vec<&Need> = manifest.needs.iter().filter(|need| !is_there(need)).collect();
    let steps: Vec<String> = manifest.steps.iter().map(|step| fill_in(step, name)).collect();
    if arguments.json {
        let missing: Vec<_> = missing.iter().map(|need| json!({ "tool": need.tool, "how": need.how })).collect();
        let paths: Vec<&String> = files.keys().collect();
        return say_json(&json!({
            "folder": name, "language": manifest.language, "files": paths, "missing": missing, "steps": steps,
        }));
    }
    say(format!("made {name} with {} files: {}", files.len(), manifest.about))?;
    for Need { tool, how, .. } in missing {
        say(format!("\n{tool} is missing here. To get it:\n  {}", how.replace('\n', "\n  ")))?;
    }
    say(format!("\nnext:\n  {}", steps.join("\n  ")))
}

fn show(known: &[(&Template, Manifest)], json: bool) -> Result<()> {
    if json {
        let languages = known.iter().map(|(_, manifest)| {
            json!({ "language": manifest.language, "aliases": manifest.aliases, "about": manifest.about })
        });
        return say_json(&languages.collect::<Vec<_>>());
    }
    let rows = known
        .iter()
        .map(|(_, manifest)| vec![manifest.language.clone(), list(&manifest.aliases), manifest.about.clone()]);
    say(table(&["LANGUAGE", "ALSO", "WHAT IT IS"], rows))
}

fn find<'a>(known: &'a [(&'a Template, Manifest)], lang: &str) -> Result<&'a (&'a Template, Manifest)> {
    let wanted = lang.to_lowercase();
    let names = |manifest: &'a Manifest| manifest.aliases.iter().chain([&manifest.language]);
    let found = known.iter().find(|(_, manifest)| names(manifest).any(|name| *name == wanted));
    found.ok_or_else(|| {
        let languages: Vec<String> = known.iter().map(|(_, manifest)| manifest.language.clone()).collect();
        let near = known.iter().flat_map(|(_, manifest)| names(manifest));
        let near = near.map(|name| (strsim::jaro_winkler(name, &wanted), name));
        let near = near.filter(|(likeness, _)| *likeness >= LIKENESS_MIN).max_by(|(a, _), (b, _)| a.total_cmp(b));
        let hint = near.map_or_else(|| ".".to_owned(), |(_, name)| format!("; did you mean {name}?"));
        anyhow!(
            "there is no template for {lang:?}{hint} There are: {}. sdk/RECIPES.md of Wasmill's source is about others: any \
             that makes components can use the WIT files (https://component-model.bytecodealliance.org)",
            languages.join(", ")
        )
    })
}

fn write(folder: &Path, files: &std::collections::BTreeMap<String, crate::templates::ProjectFile>) -> Result<()> {
    match fs::read_dir(folder) {
        Ok(mut entries) => {
            ensure!(
                entries.next().is_none(),
                "the folder {} is there and not empty; choose another name, or empty it first",
                folder.display()
            );
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            bail!("there is a file called {}; choose another name", folder.display())
        }
        Err(error) => return Err(error).with_context(|| format!("cannot look into {}", folder.display())),
    }
    for (path, file) in files {
        let path = folder.join(path);
        let put = || {
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(&path, &file.content)?;
            if file.executable {
                let mut permissions = fs::metadata(&path)?.permissions();
                // Whoever may read it may run it.
                permissions.set_mode(permissions.mode() | (permissions.mode() & 0o444) >> 2);
                fs::set_permissions(&path, permissions)?;
            }
            Ok::<_, std::io::Error>(())
        };
        put().with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn is_there(need: &Need) -> bool {
    let mut check = Command::new("sh");
    check.args(["-c", &need.check]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    check.status().is_ok_and(|status| status.success())
}

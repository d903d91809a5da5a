use std::{collections::BTreeSet, path::Path};

use super::*;
use crate::{
    config::{Config, HandlerDeclaration, QueueDeclaration},
    project::Project,
};

const NAME: &str = "quake-alert";

static SOME: &[File] = &[
    File { path: "sdk/x/lib/a.txt", executable: false, content: b"{{name}} of the SDK" },
    File { path: "sdk/x/lib/b.txt", executable: false, content: b"b" },
    File { path: "sdk/x/library.txt", executable: false, content: b"beside" },
    File { path: "sdk/x/template/build.sh", executable: true, content: b"make {{name}} {{snake}}" },
    File { path: "sdk/x/template/lib/b.txt", executable: false, content: b"instead" },
    File { path: "sdk/x/template/{{snake}}.bin", executable: false, content: b"\xff{{name}}" },
];

fn some(vendor: &[(&str, &str)]) -> Result<BTreeMap<String, ProjectFile>> {
    let vendor = vendor.iter().map(|(from, to)| Vendored { from: (*from).to_owned(), to: (*to).to_owned() });
    assemble(SOME, "sdk/x/template", &vendor.collect::<Vec<_>>(), NAME)
}

#[test]
fn a_project_is_what_is_vendored_and_the_template_over_it() {
    let files = some(&[("sdk/x/lib", "lib"), ("sdk/x/library.txt", "one.txt")]).expect("all is there");
    let said = |path: &str| files[path].content.as_ref();
    assert_eq!(said("lib/a.txt"), b"{{name}} of the SDK", "what is vendored stays as it is");
    assert_eq!(said("lib/b.txt"), b"instead");
    assert_eq!(said("one.txt"), b"beside");
    assert_eq!(said("build.sh"), b"make quake-alert quake_alert");
    assert_eq!(said("quake_alert.bin"), b"\xff{{name}}", "what is no text stays as it is");
    assert!(files["build.sh"].executable && !files["one.txt"].executable);
    assert_eq!(files.len(), 5);
    let whole = some(&[("sdk/x", "sdk")]).expect("all is there");
    assert!(whole.contains_key("sdk/lib/a.txt"));
    assert!(!whole.keys().any(|path| path.starts_with("sdk/template")), "{whole:?}");
    let error = some(&[("sdk/y", "y")]).expect_err("there is none").to_string();
    assert!(error.contains("sdk/y"), "{error}");
}

/// What languages' templates have in common, so that whoever knows one knows all.
#[test]
fn every_embedded_template_makes_a_project() {
    assert!(!TEMPLATES.is_empty(), "no template is embedded: is there sdk/<language>/template.toml?");
    let mut names = BTreeSet::new();
    for template in TEMPLATES {
        let manifest = template.manifest().expect("a test reads it");
        for name in manifest.aliases.iter().chain([&manifest.language]) {
            assert!(names.insert(name.clone()), "two templates are called {name}");
            assert_eq!(*name, name.to_lowercase());
        }
        assert!(!manifest.about.is_empty() && !manifest.about.contains('\n'), "{}", template.folder);
        let steps: Vec<String> = manifest.steps.iter().map(|step| fill_in(step, NAME)).collect();
        assert_eq!(steps.first().map(String::as_str), Some("cd quake-alert"), "{}", template.folder);
        for step in ["wasmill test", "wasmill dev"] {
            assert!(steps.iter().any(|line| line.starts_with(step)), "{} has no step {step}", template.folder);
        }
        check_files(template.folder, &template.files(NAME).expect("a test makes it"));
    }
}

fn check_files(folder: &str, files: &BTreeMap<String, ProjectFile>) {
    let text = |path: &str| {
        let file = files.get(path).unwrap_or_else(|| panic!("{folder} has no {path}"));
        std::str::from_utf8(&file.content).unwrap_or_else(|_| panic!("{folder}: {path} is no text")).to_owned()
    };
    for (path, file) in files {
        let is_inside = Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        assert!(is_inside, "{folder}: {path} is not in the project's folder");
        let open = String::from_utf8_lossy(&file.content);
        for left in ["{{name", "{{snake", "{{ name", "{{ snake"] {
            assert!(!open.contains(left) && !path.contains(left), "{folder}: {path} has {left} left over");
        }
    }
    let project = Project::parse(&text("project.toml")).unwrap_or_else(|error| panic!("{folder}: {error:#}"));
    let component = project.component.to_str().expect("text");
    assert!(
        component.ends_with("quake-alert.wasm") || component.ends_with("quake_alert.wasm"),
        "{folder}: {component}"
    );
    assert!(!project.watch.is_empty(), "{folder} watches nothing");
    for watched in &project.watch {
        let watched = watched.to_str().expect("text");
        let is_there = files.keys().any(|path| path == watched || path.starts_with(&format!("{watched}/")));
        assert!(is_there, "{folder}: project.toml watches {watched}, which is not there");
    }
    let script = project.build.split_whitespace().next().unwrap_or_default();
    if let Some(script) = script.strip_prefix("./") {
        assert!(files.get(script).is_some_and(|file| file.executable), "{folder}: {script} cannot be executed");
    }
    let samples = project.samples.unwrap_or_else(|| panic!("{folder} has no samples"));
    let samples = text(samples.to_str().expect("text"));
    let samples = crate::samples::parse(&samples).unwrap_or_else(|error| panic!("{folder}: {error:#}"));
    assert!(!samples.is_empty(), "{folder} has no sample");
    check_config(folder, component, &text("wasmill.toml"));
    let cases: toml::Table =
        toml::from_str(&text("cases.test.toml")).unwrap_or_else(|error| panic!("{folder}: {error}"));
    assert_eq!(cases["component"].as_str(), Some(component), "{folder}");
    assert!(cases["case"].as_array().is_some_and(|cases| cases.len() >= 4), "{folder} has fewer than four cases");
    for path in ["README.md", ".gitignore"] {
        assert!(!text(path).is_empty(), "{folder}: {path} is empty");
    }
}

fn check_config(folder: &str, component: &str, config: &str) {
    let config = Config::parse(config, Path::new("wasmill.toml")).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let handlers: Vec<(&str, &HandlerDeclaration)> =
        config.handlers.iter().map(|(name, handler)| (name.as_str(), handler)).collect();
    let [(handler, declared)] = handlers.as_slice() else { panic!("{folder} declares not one handler") };
    assert_eq!(*handler, NAME, "{folder}");
    assert_eq!(declared.file.as_deref(), Some(Path::new(component)), "{folder}");
    let queue = |wanted: &str| -> &QueueDeclaration {
        let found = config.queues.iter().find(|(name, _)| name.as_str() == wanted);
        found.unwrap_or_else(|| panic!("{folder} declares no queue {wanted}")).1
    };
    assert!(
        queue("quakes")
            .consumers
            .values()
            .any(|consumer| consumer.handler.as_ref().is_some_and(|it| it.as_str() == NAME))
    );
    assert!(!queue("alerts").config.bindings.is_empty());
}

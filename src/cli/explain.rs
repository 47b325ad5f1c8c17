//! `railpost explain`: the long form of what `check` says.

use crate::cli::args::ExplainArgs;
use crate::cli::exit::Exit;
use crate::topology::diagnostic::Code;
use crate::topology::lint::RULES;
use crate::topology::load::mistake;

pub(in crate::cli) fn run(args: &ExplainArgs) -> Exit {
    let Some(wanted) = &args.rule else {
        list();
        return Exit::Fine;
    };
    let is = |code: Code| code.id.eq_ignore_ascii_case(wanted) || code.name == *wanted;
    if let Some(rule) = RULES.iter().find(|it| is(it.code)) {
        println!("{} {}\n\n{}\n", rule.code.id, rule.code.name, rule.page);
        println!("Wrong:\n\n{}\nRight:\n\n{}", indented(rule.wrong), indented(rule.right));
        let allow = "allow = [{ rule = \"ID\", reason = \"…\" }]".replace("ID", rule.code.id);
        let verdict = match rule.allowable {
            true if rule.is_beside() => format!(
                "Where it is meant: {allow}, at the top of a topology file that is checked with it."
            ),
            true => format!("Where it is meant: {allow}, on the object or at the top of the file."),
            false => "It cannot be allowed: the broker could not do what the file says.".to_owned(),
        };
        println!("{verdict}");
        return Exit::Fine;
    }
    if let Some(found) = mistake::ALL.iter().find(|it| is(it.code)) {
        println!("{} {}\n\n{}", found.code.id, found.code.name, found.page);
        return Exit::Fine;
    }
    eprintln!("error: no rule is called `{wanted}`; `railpost explain` lists them");
    Exit::Unusable
}

fn list() {
    let rules = RULES.iter().map(|it| it.code);
    for code in mistake::ALL.iter().map(|it| it.code).chain(rules) {
        println!("{}  {}", code.id, code.name);
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

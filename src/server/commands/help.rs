//! HELP of the commands that have subcommands, out of the table of commands.

use crate::parser::table::find;

use super::Call;

/// Lists the subcommands of the command that was asked, as Redis's HELP subcommands do.
pub(super) fn help(call: &mut Call) {
    let parent = call.command.parent;
    let mut lines =
        vec![format!("{parent} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for subcommand in find(parent.as_bytes()).map_or(&[][..], |command| command.subcommands) {
        lines.push(format!("{} {}", subcommand.name, subcommand.arguments).trim_end().to_owned());
        lines.push(format!("    {}", subcommand.summary));
    }
    call.reply.lines(&lines.iter().map(String::as_str).collect::<Vec<_>>());
}

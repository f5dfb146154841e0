#pragma once
#include <string>

namespace swage {

// Where people read what the command prints: a terminal that draws, or something that gets plain
// text (a file or pipe, TERM=dumb, NO_COLOR, a locale that is not of UTF-8).

// May a bar be drawn on standard error, with escape sequences and signs beyond ASCII?
bool draws_on_terminal();

// Writes what goes to stdout and stderr from now on as plain ASCII where no terminal draws it: our
// own signs become what a typewriter has ("...", "->"). Where the locale is not of UTF-8, all other
// characters are shown as \xc3\xbc; else they are names of the user's and pass.
void plain_output();

// What plain_output() makes of a text.
std::string plain_text(const std::string& text, bool utf8);

// Prints JSON: the same values for every reader, in ASCII where output is plain.
void print_json(const std::string& json);

}  // namespace swage

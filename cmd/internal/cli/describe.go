package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"unicode"

	"github.com/alecthomas/kingpin/v2"
)

// A Description is what completion and the manual page know of a program or of one
// of its commands.
type Description struct {
	Name, Help string
	Flags      []*kingpin.FlagModel
	Args       []*kingpin.ArgModel
	Commands   []Description
}

// Describe returns the description of app under another name, without hidden flags.
func Describe(name string, app *kingpin.Application) Description {
	m := app.Model()
	return describe(name, m.Help, m.FlagGroupModel, m.ArgGroupModel, m.CmdGroupModel)
}

func describe(name, help string, flags *kingpin.FlagGroupModel, args *kingpin.ArgGroupModel, commands *kingpin.CmdGroupModel) Description {
	d := Description{Name: name, Help: help, Args: args.Args}
	for _, f := range flags.Flags {
		if !f.Hidden {
			d.Flags = append(d.Flags, f)
		}
	}
	slices.SortFunc(d.Flags, func(a, b *kingpin.FlagModel) int { return cmp.Compare(a.Name, b.Name) })
	for _, c := range commands.Commands {
		if !c.Hidden && c.Name != "help" {
			d.Commands = append(d.Commands, describe(c.Name, c.Help, c.FlagGroupModel, c.ArgGroupModel, c.CmdGroupModel))
		}
	}
	return d
}

// A place is a description and how one gets there, such as "/check/config".
type place struct {
	Path string
	Description
}

// Words are the flags as they are written.
func (p place) Words() []string {
	var words []string
	for _, f := range p.Flags {
		words = append(words, "--"+f.Name)
	}
	return words
}

// places are d and all of its commands; the path of d itself is "".
func places(path string, d Description) []place {
	all := []place{{path, d}}
	for _, c := range d.Commands {
		all = append(all, places(path+"/"+c.Name, c)...)
	}
	return all
}

// describeCommand prints a text that is made from the description of a program.
type describeCommand struct {
	env      Env
	app      *kingpin.Application
	program  func() Description
	shell    string
	template func(shell string) *template.Template
}

// NewCompletionCommand returns the command that prints a completion script. program
// is called when the script is printed: it makes all commands, this one included.
func NewCompletionCommand(e Env, name string, program func() Description) Command {
	c := &describeCommand{env: e, program: program}
	c.app = NewApp(name+" completion", "Print a completion script. To use it in bash: source <("+name+" completion bash)", e)
	c.app.Arg("shell", "bash, zsh or fish.").Required().EnumVar(&c.shell, "bash", "zsh", "fish")
	c.template = func(shell string) *template.Template { return completions[shell] }
	return c
}

// NewManCommand returns the command that prints the manual page of a program.
func NewManCommand(e Env, name string, program func() Description) Command {
	c := &describeCommand{env: e, program: program}
	c.app = NewApp(name+" man", "Print the manual page. To read it: "+name+" man | man -l -", e)
	c.template = func(string) *template.Template { return manual }
	return c
}

// Application is where the flags of the command are.
func (c *describeCommand) Application() *kingpin.Application { return c.app }

func (c *describeCommand) Parse(args []string) error { return ParseFlags(c.app, args) }

func (c *describeCommand) Run(context.Context) error {
	return c.print(c.env.Stdout, c.template(c.shell))
}

func (c *describeCommand) print(w io.Writer, t *template.Template) error {
	program := c.program()
	return t.Execute(w, struct {
		Description
		Places        []place
		Version, Date string
	}{program, places("", program), BuildVersion, day(BuildDate)})
}

// day is the date of a time in RFC 3339.
func day(t string) string {
	d, _, _ := strings.Cut(t, "T")
	return d
}

var describing = template.FuncMap{
	"join":  strings.Join,
	"lower": func(s string) string { return strings.ReplaceAll(s, "-", "_") },
	"upper": strings.ToUpper,
	"space": func(s string) string { return strings.ReplaceAll(strings.TrimPrefix(s, "/"), "/", " ") },
	// single is s in single quotes, as a shell reads them.
	"single": func(s string) string { return "'" + strings.ReplaceAll(oneLine(s), "'", `'\''`) + "'" }, // bash, zsh
	"fish": func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(oneLine(s)) + "'"
	},
	"colons":  func(s string) string { return strings.ReplaceAll(s, ":", `\:`) },
	"first":   firstSentence,
	"roff":    roff,
	"subject": subject,
	"usage":   usageOfFlag,
	"args":    usageOfArgs,
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// firstSentence is the part of a help text that has room beside a flag.
func firstSentence(s string) string {
	s = oneLine(s)
	if i := strings.Index(s, ". "); i > 0 {
		s = s[:i]
	}
	return strings.TrimSuffix(s, ".")
}

// roff is s as text of a manual page: nothing in it is an instruction, and a dash
// stays the character that can be pasted into a shell.
func roff(s string) string {
	var b strings.Builder
	b.WriteString(`\&`)
	for _, r := range oneLine(s) {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r > unicode.MaxASCII:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// subject is a help text as the line NAME of a manual page has it.
func subject(s string) string {
	s = firstSentence(s)
	return strings.ToLower(s[:1]) + s[1:]
}

func usageOfFlag(f *kingpin.FlagModel) string {
	if f.IsBoolFlag() {
		if len(f.Default) > 0 && f.Default[0] == "true" {
			return "--[no-]" + f.Name
		}
		return "--" + f.Name
	}
	return "--" + f.Name + "=" + f.FormatPlaceHolder()
}

func usageOfArgs(args []*kingpin.ArgModel) string {
	var words []string
	for _, a := range args {
		word := "<" + a.Name + ">"
		if v, ok := a.Value.(interface{ IsCumulative() bool }); ok && v.IsCumulative() {
			word += "..."
		}
		if !a.Required {
			word = "[" + word + "]"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func parse(text string) *template.Template {
	return template.Must(template.New("").Funcs(describing).Parse(strings.TrimPrefix(text, "\n")))
}

// The scripts hold what there is and start no program: one that did would take a
// tenth of a second for each key.
var completions = map[string]*template.Template{
	"bash": parse(`
# bash completion for {{.Name}}
_{{lower .Name}}() {
    local cur=${COMP_WORDS[COMP_CWORD]} at= word words
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $at/$word in
{{range .Places}}{{if .Path}}            {{.Path}}) at=$at/$word ;;
{{end}}{{end}}        esac
    done
    case $at in
{{range .Places}}        '{{.Path}}')
            words='{{range .Commands}}{{.Name}} {{end}}'
            [[ $cur == -* ]] && words='{{join .Words " "}}'
            ;;
{{end}}    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _{{lower .Name}} {{.Name}}
`),
	"zsh": parse(`
#compdef {{.Name}}
_{{lower .Name}}() {
    local at= word
    local -a commands flags
    for word in ${words[2,CURRENT-1]}; do
        case $at/$word in
{{range .Places}}{{if .Path}}            ({{.Path}}) at=$at/$word ;;
{{end}}{{end}}        esac
    done
    case $at in
{{range .Places}}        ('{{.Path}}')
{{if .Commands}}            commands=({{range .Commands}}
                {{printf "%s:%s" .Name (colons (first .Help)) | single}}{{end}}
            )
{{end}}{{if .Flags}}            flags=({{range .Flags}}
                {{printf "--%s:%s" (colons .Name) (colons (first .Help)) | single}}{{end}}
            )
{{end}}            ;;
{{end}}    esac
    if [[ ${words[CURRENT]} == -* ]]; then
        _describe -o flag flags
    elif (( $#commands )); then
        _describe command commands
    else
        _files
    fi
}
if [[ $funcstack[1] == _{{lower .Name}} || $funcstack[1] == _{{.Name}} ]]; then
    _{{lower .Name}} "$@"
else
    compdef _{{lower .Name}} {{.Name}}
fi
`),
	"fish": parse(`
# fish completion for {{.Name}}
function __{{lower .Name}}_at
    set -l at ''
    for word in (commandline -opc)[2..-1]
        switch $at/$word
            case{{range .Places}}{{if .Path}} {{.Path}}{{end}}{{end}} /
                set at $at/$word
        end
    end
    test "$at" = "$argv[1]"
end
{{$program := .}}{{range .Places}}{{$path := .Path}}{{if .Commands}}complete -c {{$program.Name}} -n "__{{lower $program.Name}}_at '{{$path}}'" -f
{{end}}{{range .Commands}}complete -c {{$program.Name}} -n "__{{lower $program.Name}}_at '{{$path}}'" -a {{.Name}} -d {{first .Help | fish}}
{{end}}{{range .Flags}}complete -c {{$program.Name}} -n "__{{lower $program.Name}}_at '{{$path}}'" -l {{.Name}}{{if not .IsBoolFlag}} -r{{end}} -d {{first .Help | fish}}
{{end}}{{end}}`),
}

var manual = parse(`
.TH {{upper .Name}} 1 "{{.Date}}" "{{.Name}} {{.Version}}"
.nh
.ad l
.SH NAME
{{roff .Name}} \- {{subject .Help | roff}}
.SH SYNOPSIS
{{if .Commands}}{{$program := .}}{{range .Commands}}.B {{roff $program.Name}} {{roff .Name}}
{{if .Flags}}[\fIflags\fR] {{end}}{{if .Commands}}\fIcommand\fR ...{{else}}{{roff (args .Args)}}{{end}}
.br
{{end}}{{end}}{{if .Flags}}.B {{roff .Name}}
[\fIflags\fR]
{{end}}{{$name := .Name}}{{range .Places}}{{if .Path}}.SH {{upper (space .Path) | roff}}
{{roff .Help}}
.PP
.B {{roff $name}} {{roff (space .Path)}}
{{if .Flags}}[\fIflags\fR] {{end}}{{if .Commands}}\fIcommand\fR ...{{else}}{{roff (args .Args)}}{{end}}
{{else if .Flags}}.SH OPTIONS
{{end}}{{range .Args}}.TP
\fI{{roff .Name}}\fR
{{roff .Help}}
{{end}}{{range .Flags}}.TP
\fB{{if .Short}}\-{{printf "%c" .Short}}, {{end}}{{roff (usage .)}}\fR
{{roff .HelpWithEnvar}}
{{end}}{{end}}.SH EXIT STATUS
.TP
0
Ended as asked, or the work is done.
.TP
1
Failed; the log or standard error says what.
.TP
2
Called wrongly: an unknown flag or command, a bad value, a broken configuration file.
.SH SEE ALSO
https://github.com/clanmon/clanmon
`)

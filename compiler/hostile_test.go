package compiler_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/compiler"
)

const hostileHead = `package office

import (
	"list"

	"github.com/trike-ipsec/trike/schema"
)

_used: list.Range(0, 1, 1)
policy: schema.#Policy
policy: gateways: berlin: {address: "198.51.100.1", networks: ["10.1.0.0/16"]}
policy: secrets: office: file: "/nowhere/office.psk"
`

// Whatever a policy is made of, the compiler says what is wrong, in bounded time and space, and it never makes a plan of it.
func TestHostilePolicies(t *testing.T) {
	policy := func(text string) map[string]string { return map[string]string{"policy.cue": text} }
	module := func(text string) map[string]string {
		return map[string]string{"policy.cue": hostileHead, "cue.mod/module.cue": text}
	}
	embed := func(name, text string) map[string]string {
		return map[string]string{"policy.cue": "@extern(embed)\n\n" + hostileHead + "policy: links: _ @embed(file=" + name + ")\n", name: text}
	}
	var laughs strings.Builder
	laughs.WriteString("a0: &a0 [x, x]\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&laughs, "a%d: &a%d [*a%d, *a%d]\n", i, i, i-1, i-1)
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  []compiler.Code // one of them
	}{
		"nothing":          {policy(""), []compiler.Code{compiler.CodeUnreadable}},
		"binary":           {policy("\x7fELF\x02\x01\x01\x00\x00\xff\xfe"), []compiler.Code{compiler.CodeSyntax}},
		"NUL":              {policy(hostileHead + "\x00"), []compiler.Code{compiler.CodeSyntax}},
		"NUL in a text":    {policy(hostileHead + "policy: secrets: x: file: \"/a\x00b\"\n"), []compiler.Code{compiler.CodeSyntax, compiler.CodeValue}},
		"UTF-16":           {policy("\xff\xfep\x00a\x00c\x00k\x00"), []compiler.Code{compiler.CodeUnreadable}},
		"invalid UTF-8":    {policy(hostileHead + "policy: gateways: \"\xc3\x28\": address: \"192.0.2.1\"\n"), []compiler.Code{compiler.CodeSyntax, compiler.CodeName}},
		"brackets":         {policy(hostileHead + "x: " + strings.Repeat("[", 1<<20)), []compiler.Code{compiler.CodeTooLarge}},
		"braces":           {policy(hostileHead + strings.Repeat("x: {", 1<<20)), []compiler.Code{compiler.CodeTooLarge}},
		"attribute":        {policy(hostileHead + "x: 1 @a" + strings.Repeat("(", 1<<20)), []compiler.Code{compiler.CodeTooLarge}},
		"hidden brackets":  {policy(hostileHead + `x: "\("" ` + strings.Repeat("(", 1<<20)), []compiler.Code{compiler.CodeTooLarge}},
		"path":             {policy(hostileHead + strings.Repeat("x: ", 1<<20) + "1"), []compiler.Code{compiler.CodeTooLarge}},
		"path over lines":  {policy(hostileHead + strings.Repeat("x:\n", 1<<20) + "1"), []compiler.Code{compiler.CodeTooLarge}},
		"sum":              {policy(hostileHead + "x: 1" + strings.Repeat("+1", 1<<20)), []compiler.Code{compiler.CodeTooLarge}},
		"signs":            {policy(hostileHead + "x: " + strings.Repeat("-", 1<<20) + "1"), []compiler.Code{compiler.CodeTooLarge}},
		"selectors":        {policy(hostileHead + "x: x" + strings.Repeat(".x", 1<<20)), []compiler.Code{compiler.CodeTooLarge}},
		"clauses":          {policy(hostileHead + strings.Repeat("if true ", 1<<20) + "{}"), []compiler.Code{compiler.CodeTooLarge}},
		"JSON brackets":    {embed("x.json", strings.Repeat("[", 1<<20)), []compiler.Code{compiler.CodeTooLarge}},
		"YAML brackets":    {embed("x.yaml", strings.Repeat("[", 1<<20)), []compiler.Code{compiler.CodeTooLarge}},
		"YAML lists":       {embed("x.yaml", strings.Repeat("- ", 1<<20)), []compiler.Code{compiler.CodeSyntax, compiler.CodeTooLarge}},
		"YAML laughs":      {embed("x.yaml", laughs.String()), []compiler.Code{compiler.CodeSyntax, compiler.CodeTooLarge}},
		"YAML itself":      {embed("x.yaml", "a: &a [*a]\n"), []compiler.Code{compiler.CodeSyntax}},
		"TOML path":        {embed("x.toml", strings.Repeat("a.", 1<<20)+"a = 1"), []compiler.Code{compiler.CodeTooLarge}},
		"embed outside":    {embed("../../../../../../etc/passwd", ""), []compiler.Code{compiler.CodeSyntax, compiler.CodeUnreadable, compiler.CodeValue}},
		"many networks":    {policy(hostileHead + "policy: links: x: {between: [\"berlin\", \"p\"], auth: psk: secret: \"office\"}\npolicy: gateways: p: {address: \"192.0.2.1\", networks: [for i in list.Range(0, 5000, 1) {\"10.2.\\(div(i, 256)).\\(mod(i, 256))/32\"}]}\n"), []compiler.Code{compiler.CodeManySelectors}},
		"many mistakes":    {policy(hostileHead + "for i in list.Range(0, 3000, 1) {policy: gateways: \"g\\(i)\": colour: i}\n"), []compiler.Code{compiler.CodeField}},
		"cycle":            {policy(hostileHead + "policy: gateways: paris: policy.gateways.paris\n"), []compiler.Code{compiler.CodeMissing}},
		"structural cycle": {policy(hostileHead + "#a: {b: #a}\npolicy: gateways: paris: #a\n"), []compiler.Code{compiler.CodeReference, compiler.CodeMissing}},
		"long name":        {policy(hostileHead + "policy: gateways: \"" + strings.Repeat("n", 1<<20) + "\": address: \"192.0.2.1\"\n"), []compiler.Code{compiler.CodeName}},
		"long text":        {policy(hostileHead + "policy: gateways: paris: address: \"" + strings.Repeat("1", 1<<20) + "\"\n"), []compiler.Code{compiler.CodeValue}},
		"huge number":      {policy(hostileHead + "policy: gateways: paris: address: 1e999999999\n"), []compiler.Code{compiler.CodeValue}},
		"module: nothing":  {module(""), []compiler.Code{compiler.CodeModule}},
		"module: binary":   {module("\x00\x01\x02"), []compiler.Code{compiler.CodeModule}},
		"module: no CUE":   {module("module: {"), []compiler.Code{compiler.CodeModule}},
		"module: version":  {module("module: \"example.com/office@v0\"\nlanguage: version: \"v99.0.0\"\n"), []compiler.Code{compiler.CodeModule}},
		"module: name":     {module("module: \"../../etc@v0\"\nlanguage: version: \"v0.17.0\"\n"), []compiler.Code{compiler.CodeModule}},
		"module: endless":  {module("module: " + strings.Repeat("(", 1<<20)), []compiler.Code{compiler.CodeTooLarge}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				if filepath.IsLocal(name) {
					write(t, filepath.Join(dir, name), []byte(text))
				}
			}
			refused(t, dir, c.want)
		})
	}
}

func refused(t *testing.T, dir string, want []compiler.Code) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, ds := compiler.Compile(ctx, compiler.Options{Dir: dir})
	if len(r.Plans) > 0 || !compiler.Failed(ds) {
		t.Fatalf("a plan was made, and it was said: %v", ds)
	}
	var b bytes.Buffer
	compiler.WriteText(&b, ds)
	said := b.String()
	if len(said) > 2<<20 {
		t.Errorf("%d octets are said in %d findings", len(said), len(ds))
	}
	if !slices.ContainsFunc(ds, func(d compiler.Diagnostic) bool { return slices.Contains(want, d.Code) }) {
		t.Errorf("want one of %v:\n%.2000s", want, said)
	}
	if strings.Contains(said, dir) {
		t.Errorf("the directory's own name is said:\n%.2000s", said)
	}
	for _, d := range ds {
		if d.Code == compiler.CodeEvaluator {
			t.Errorf("the evaluator is blamed:\n%.2000s", said)
		}
	}
}

// What lies in a policy's directory need not be files, nor be of a decent size.
func TestHostileFiles(t *testing.T) {
	for name, c := range map[string]struct {
		make func(t *testing.T, dir string) error
		want compiler.Code
	}{
		"symbolic link out": {func(_ *testing.T, dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "x.cue")) }, compiler.CodeSymlink},
		"data link out":     {func(_ *testing.T, dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "x.yaml")) }, compiler.CodeSymlink},
		"link to itself":    {func(_ *testing.T, dir string) error { return os.Symlink("x.cue", filepath.Join(dir, "x.cue")) }, compiler.CodeUnreadable},
		"module link out": {func(t *testing.T, dir string) error {
			out := t.TempDir()
			write(t, filepath.Join(out, "module.cue"), []byte("module: \"example.com/office@v0\"\nlanguage: version: \"v0.17.0\"\n"))
			return os.Symlink(out, filepath.Join(dir, "cue.mod"))
		}, compiler.CodeSymlink},
		"pipe":             {func(_ *testing.T, dir string) error { return syscall.Mkfifo(filepath.Join(dir, "x.cue"), 0o600) }, compiler.CodeUnreadable},
		"100 MB":           {func(_ *testing.T, dir string) error { return sparse(filepath.Join(dir, "x.cue"), 100<<20) }, compiler.CodeTooLarge},
		"100 MB of data":   {func(_ *testing.T, dir string) error { return sparse(filepath.Join(dir, "x.json"), 100<<20) }, compiler.CodeTooLarge},
		"many files":       {manyFiles, compiler.CodeTooLarge},
		"deep directories": {deepDirectories, compiler.CodeTooLarge},
		"module file is none": {func(_ *testing.T, dir string) error {
			return os.MkdirAll(filepath.Join(dir, "cue.mod", "module.cue"), 0o755)
		}, compiler.CodeModule},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "policy.cue"), []byte(hostileHead))
			if err := c.make(t, dir); err != nil {
				t.Fatal(err)
			}
			refused(t, dir, []compiler.Code{c.want})
		})
	}
}

func sparse(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Truncate(size)
}

func manyFiles(t *testing.T, dir string) error {
	for i := range compiler.MaxFiles {
		write(t, filepath.Join(dir, fmt.Sprintf("x%d.cue", i)), []byte("package office\n"))
	}
	return nil
}

func deepDirectories(t *testing.T, dir string) error {
	write(t, filepath.Join(dir, strings.Repeat("d/", 60), "x.cue"), []byte("package x\n"))
	return nil
}

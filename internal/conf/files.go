package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A File is a configuration file that was read and has not been parsed.
type File struct {
	Path string
	Text []byte
}

func (f File) name() string { return filepath.Base(f.Path) }

// Files are a configuration as it lies on disk. They hold secrets.
type Files struct {
	Config  File
	Clients []File // of a server: its clients, in the order of their names
	Skipped []string
}

// Read reads the configuration file at path and, for a server that knows its clients by
// key, the files of these. Of each file, and of the directory, it checks that nobody but
// root and this process's user can have written it, or can read the file.
//
// The contents are not checked, beyond what it takes to find the clients: Parse says what
// is wrong with them.
func Read(path string) (*Files, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	files := &Files{Config: File{path, text}}
	c, _, err := Parse(path, bytes.NewReader(text))
	if err != nil || c.Mode != Server || c.PrivateKey == "" {
		return files, nil
	}
	return files, files.readClients(c.ClientsPath())
}

// readClients reads the files of the clients in a directory, which need not exist.
func (f *Files) readClients(dir string) error {
	fi, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the clients: %w", err)
	}
	if !fi.IsDir() {
		return fmt.Errorf("read the clients: %s is not a directory: clients_dir names one with a file for each client", dir)
	}
	if err := checkDirectory(dir, fi); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read the clients: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !ValidClientName(e.Name()) || e.IsDir() {
			f.Skipped = append(f.Skipped, path)
			continue
		}
		text, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since
		}
		if err != nil {
			return err
		}
		f.Clients = append(f.Clients, File{path, text})
	}
	return nil
}

// readFile reads a file after having checked, on the open file, who can write and read it.
func readFile(path string) ([]byte, error) {
	f, err := openConfig(path)
	if err != nil {
		return nil, fmt.Errorf("open config: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("check config: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("config %s is not a regular file: give the path of a file", path)
	}
	if err := checkOwner(path, fi); err != nil {
		return nil, err
	}
	return readText(path, f)
}

// readText reads a configuration, which must not be larger than maxFile.
func readText(name string, r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read config %s: %w", name, err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("config %s is larger than 1 MiB: is it the right file?", name)
	}
	return text, nil
}

// Parse reads the configuration and the clients. An error names all that is wrong, with
// the files and lines.
func (f *Files) Parse(o Options) (*Config, []*ClientFile, []Warning, error) {
	c, warnings, err := o.Parse(f.Config.Path, bytes.NewReader(f.Config.Text))
	errs := []error{err}
	var clients []*ClientFile
	for _, file := range f.Clients {
		client, more, err := ParseClient(file)
		warnings = append(warnings, more...)
		errs = append(errs, err)
		clients = append(clients, client)
	}
	for _, path := range f.Skipped {
		warnings = append(warnings, Warning{Position{File: path}, "not read: the name of a client's file is made of letters, digits and . _ -, the first a letter or a digit"})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, warnings, err
	}
	return c, clients, warnings, nil
}

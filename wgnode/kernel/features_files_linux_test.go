package kernel

import (
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/wgnode"
)

// kernelRoot is a file system with files of a kernel.
func kernelRoot(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		f, err := os.Create(path)
		require.NoError(t, err)
		if filepath.Ext(name) == ".gz" {
			packed := gzip.NewWriter(f)
			_, err = packed.Write([]byte(content))
			require.NoError(t, errors.Join(err, packed.Close()))
		} else {
			_, err = f.WriteString(content)
			require.NoError(t, err)
		}
		require.NoError(t, f.Close())
	}
	return root
}

func TestKernelFiles(t *testing.T) {
	const (
		config  = "# comment\nCONFIG_IFB=m\nCONFIG_TUN=y\n# CONFIG_WIREGUARD is not set\nCONFIG_NET_SCH_HTB=m\n"
		builtin = "kernel/drivers/net/tun.ko\n"
		deps    = "kernel/net/sched/sch_htb.ko.zst: kernel/x.ko.zst\nkernel/a/nf-tables.ko.xz:\n"
	)
	for name, c := range map[string]struct {
		files map[string]string
		// there, installed or built in; and the answers for options whose error says so.
		want map[option]string
	}{
		"packed configuration, no list of modules": {
			map[string]string{"proc/config.gz": config, "boot/config-9.9": "CONFIG_WIREGUARD=y\n", "proc/modules": "ifb 16384 0 - Live 0x0\n"},
			map[option]string{
				{"CONFIG_IFB", "ifb"}:             "", // loaded
				{"CONFIG_TUN", "tun"}:             "",
				{"CONFIG_WIREGUARD", "wireguard"}: "not supported: CONFIG_WIREGUARD is not set in /proc/config.gz",
				{"CONFIG_NET_SCH_HTB", "sch_htb"}: "CONFIG_NET_SCH_HTB is a module in /proc/config.gz, and whether it is installed cannot be seen in /lib/modules/9.9",
			},
		},
		"configuration and modules": {
			map[string]string{"boot/config-9.9": config, "lib/modules/9.9/modules.builtin": builtin, "lib/modules/9.9/modules.dep": deps},
			map[option]string{
				{"CONFIG_NET_SCH_HTB", "sch_htb"}: "",
				{"CONFIG_NF_TABLES", "nf_tables"}: "",
				{"CONFIG_IFB", "ifb"}:             "not supported: CONFIG_IFB is a module in /boot/config-9.9, and module ifb is not installed",
				{"CONFIG_NF_TABLES_INET", ""}:     "not supported: CONFIG_NF_TABLES_INET is not set in /boot/config-9.9",
			},
		},
		"modules alone": {
			map[string]string{"lib/modules/9.9/modules.builtin": builtin, "lib/modules/9.9/modules.dep": deps},
			map[option]string{
				{"CONFIG_TUN", "tun"}:         "",
				{"CONFIG_IFB", "ifb"}:         "not supported: no module ifb is in /lib/modules/9.9",
				{"CONFIG_NF_TABLES_INET", ""}: "no file that can be read tells of CONFIG_NF_TABLES_INET",
			},
		},
		"nothing": {nil, map[option]string{{"CONFIG_TUN", "tun"}: "no file that can be read tells of CONFIG_TUN"}},
	} {
		t.Run(name, func(t *testing.T) {
			k := kernelFiles{release: "9.9"}
			require.NoError(t, k.read(kernelRoot(t, c.files)))
			for o, want := range c.want {
				err := k.has([]option{o})
				if want == "" {
					require.NoError(t, err)
				} else {
					require.EqualError(t, err, want)
				}
			}
		})
	}
	k := kernelFiles{release: "9.9"}
	require.ErrorIs(t, k.read(kernelRoot(t, map[string]string{"proc/config.gz/x": ""})), unix.EISDIR)
	k.config = map[string]string{"CONFIG_A": "y"}
	require.ErrorIs(t, k.has([]option{{"CONFIG_A", ""}, {"CONFIG_B", ""}}), wgnode.ErrNotSupported)
	require.NoError(t, k.has([]option{{"CONFIG_A", ""}}))
}

// What to do follows from what the kernel has of it already.
func TestRequired(t *testing.T) {
	k := kernelFiles{
		release: "9.9", configFile: "/boot/config-9.9", allModules: true, modules: map[string]bool{"htb": true},
		config: map[string]string{"CONFIG_HTB": "m", "CONFIG_IFB": "m", "CONFIG_Y": "y"},
	}
	htb, ifb, never, always := option{"CONFIG_HTB", "htb"}, option{"CONFIG_IFB", "ifb"}, option{"CONFIG_WG", "wg"}, option{"CONFIG_Y", ""}
	require.Equal(t, "the module loaded, on the host: modprobe -a htb", k.required("", []option{htb, always}))
	require.Equal(t, "this kernel's package with the module ifb: linux-modules-extra-9.9 (Ubuntu), kernel-modules-extra (Fedora, RHEL); "+
		"the module loaded, on the host: modprobe -a htb ifb; and luck", k.required("and luck", []option{htb, ifb}))
	require.Equal(t, "another kernel, as this one was built without CONFIG_WG (/boot/config-9.9)", k.required("", []option{never}))
	require.Equal(t, "a newer kernel: this one has the parts, but not all that they are to do", k.required("", []option{always}))
	require.Equal(t, "a kernel with CONFIG_WG, CONFIG_Y; the module loaded, on the host: modprobe -a wg",
		kernelFiles{release: "9.9"}.required("", []option{never, always}))
}

func TestSettle(t *testing.T) {
	refused := errors.New("no")
	files := kernelFiles{configFile: "/c", config: map[string]string{"CONFIG_Y": "y"}}
	for name, c := range map[string]struct {
		options []option
		asked   error
		tried   error
		answer  Answer
		source  Source
	}{
		"tried and there":             {[]option{{"CONFIG_N", ""}}, refused, nil, There, SourceTried},
		"tried and refused":           {[]option{{"CONFIG_Y", ""}}, nil, unix.ENOENT, Absent, SourceTried},
		"tried in vain, asked before": {nil, nil, unix.ENOBUFS, There, SourceAsked},
		"tried in vain, read before":  {[]option{{"CONFIG_N", ""}}, unix.EPERM, unix.ENOMEM, Absent, SourceRead},
		"all in vain":                 {nil, unix.EPERM, unix.EBUSY, Unknown, SourceTried},
	} {
		t.Run(name, func(t *testing.T) {
			all := []probe{{
				Feature: Feature{Name: "it"}, options: c.options,
				ask: func(host) error { return c.asked }, try: func(space) error { return c.tried },
			}}
			all[0].answer(host{files: files})
			require.NoError(t, tryAll(t.Context(), all))
			require.Equal(t, c.answer, all[0].Answer())
			require.Equal(t, c.source, all[0].Source)
			if c.answer == Absent {
				require.EqualError(t, all[0].Err, map[Source]string{
					SourceTried: "it is not supported here: it requires a newer kernel: this one has the parts, but not all that they are to do (no such file or directory)",
					SourceRead:  "it is not supported here: it requires another kernel, as this one was built without CONFIG_N (/c) (not supported: CONFIG_N is not set in /c)",
				}[c.source])
			}
		})
	}
	p := probe{Feature: Feature{Name: "it"}, try: func(space) error { return nil }}
	p.answer(host{})
	require.Equal(t, Unknown, p.Answer())
	require.Empty(t, p.Source)
}

package supabase

import (
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

func TestRotate(t *testing.T) {
	s := newSite(t)
	n := s.node(s.config())
	first := n.Info().Credential
	require.NoError(t, n.Rotate(t.Context()))
	second := n.Info().Credential
	require.NotEqual(t, first, second)
	require.True(t, n.Info().Rotating)
	require.ElementsMatch(t, []string{first, second}, s.fleet.Credentials(), "both count until the new one is used")
	require.NoError(t, n.beat(t.Context()))
	require.False(t, n.Info().Rotating)
	require.Equal(t, []string{second}, s.fleet.Credentials())
	require.NotContains(t, readText(t, n.cfg.CredentialFile), first)

	// One that follows at once uses the one before.
	require.NoError(t, n.Rotate(t.Context()))
	require.NoError(t, n.Rotate(t.Context()))
	require.NoError(t, n.beat(t.Context()))
	require.Equal(t, []string{n.Info().Credential}, s.fleet.Credentials())
}

// TestRotateKilled has a process die at each point of a rotation: what is on the disk then is opened anew, speaks for the node at
// once, and finishes the rotation.
func TestRotateKilled(t *testing.T) {
	killed := errors.New("killed")
	// die has the n-th writing of the file not happen, or happen and be the last thing.
	die := func(c *Client, n int, after bool) {
		c.keep.write = func(path string, data []byte) error {
			if n--; n > 0 {
				return writeFile(path, data)
			}
			if after {
				return errors.Join(writeFile(path, data), killed)
			}
			return killed
		}
	}
	for name, kill := range map[string]func(s *site, n *node){
		"before the key is stored": func(s *site, n *node) {
			die(n.Client, 1, false)
			require.ErrorIs(s, n.Rotate(s.Context()), killed)
		},
		"when the key is stored": func(s *site, n *node) {
			die(n.Client, 1, true)
			require.ErrorIs(s, n.Rotate(s.Context()), killed)
		},
		"before the request arrives": func(s *site, n *node) {
			s.fails(drop)
			require.ErrorIs(s, n.Rotate(s.Context()), registry.ErrUnavailable)
		},
		"before the answer arrives": func(s *site, n *node) {
			s.fails(lose)
			require.ErrorIs(s, n.Rotate(s.Context()), registry.ErrUnavailable)
			require.Len(s, s.fleet.Credentials(), 2)
		},
		"before the id is stored": func(s *site, n *node) {
			die(n.Client, 2, false)
			require.ErrorIs(s, n.Rotate(s.Context()), killed)
		},
		"when the id is stored": func(s *site, n *node) {
			die(n.Client, 2, true)
			require.ErrorIs(s, n.Rotate(s.Context()), killed)
		},
		"before the new key is used": func(s *site, n *node) { require.NoError(s, n.Rotate(s.Context())) },
		"before the answer to its first use": func(s *site, n *node) {
			require.NoError(s, n.Rotate(s.Context()))
			s.fails(lose)
			require.ErrorIs(s, n.beat(s.Context()), registry.ErrUnavailable)
			require.Len(s, s.fleet.Credentials(), 1)
		},
		"before the former key is removed": func(s *site, n *node) {
			require.NoError(s, n.Rotate(s.Context()))
			die(n.Client, 1, false)
			require.NoError(s, n.beat(s.Context()))
		},
		"when the former key is removed": func(s *site, n *node) {
			require.NoError(s, n.Rotate(s.Context()))
			die(n.Client, 1, true)
			require.NoError(s, n.beat(s.Context()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			cfg := s.config()
			dead := s.node(cfg)
			former := dead.Info().Credential
			kill(s, dead)
			s.fails(nil)

			n := &node{Client: s.open(cfg), Registered: dead.Registered, sequence: dead.sequence}
			require.NoError(t, n.beat(t.Context()))
			require.NoError(t, n.Rotate(t.Context()))
			require.NotEqual(t, former, n.Info().Credential)
			require.NoError(t, n.beat(t.Context()))
			require.False(t, n.Info().Rotating)
			require.Equal(t, []string{n.Info().Credential}, s.fleet.Credentials())
			require.NoError(t, (&node{Client: s.open(cfg), Registered: n.Registered, sequence: n.sequence}).beat(t.Context()))

			// What died would find its way, too, were it not dead.
			dead.keep.write = writeFile
			dead.sequence = n.sequence + 1
			require.NoError(t, dead.beat(t.Context()))
		})
	}
}

// A new key that the fleet does not know, for it was set back to a backup, gives way to the one before it.
func TestRotateForgotten(t *testing.T) {
	s := newSite(t)
	var log logs
	cfg := s.config()
	cfg.Logger = log.logger()
	n := s.node(cfg)
	first := n.Info().Credential
	require.NoError(t, n.Rotate(t.Context()))
	s.fleet.RevokeCredential(n.Info().Credential)
	require.NoError(t, n.beat(t.Context()))
	require.Equal(t, first, n.Info().Credential)
	require.False(t, n.Info().Rotating)
	require.Contains(t, log.String(), "the fleet does not know the new credential")
	require.NoError(t, s.open(cfg).Deregister(t.Context(), n.Server))

	s.fleet.RevokeCredential(first)
	require.ErrorIs(t, n.beat(t.Context()), registry.ErrDenied)
}

// Another process that rotates takes nothing from this one: it reads the file when the fleet refuses what it had.
func TestRotateElsewhere(t *testing.T) {
	s := newSite(t)
	cfg := s.config()
	n := s.node(cfg)
	other := &node{Client: s.open(cfg), Registered: n.Registered, sequence: 10}
	require.NoError(t, other.Rotate(t.Context()))
	require.NoError(t, other.beat(t.Context()))
	require.NotEqual(t, other.Info().Credential, n.Info().Credential)
	require.NoError(t, n.beat(t.Context()))
	require.Equal(t, other.Info().Credential, n.Info().Credential)

	require.NoError(t, other.Rotate(t.Context()))
	require.ErrorIs(t, n.Rotate(t.Context()), ErrChanged, "it had not seen that")
	require.Equal(t, other.Info().Credential, n.Info().Credential)
	require.NoError(t, n.beat(t.Context()))

	require.NoError(t, os.WriteFile(cfg.CredentialFile, []byte(aDocument), 0o600))
	err := n.Rotate(t.Context())
	require.ErrorIs(t, err, ErrChanged)
	require.ErrorContains(t, err, "of another enrollment")
	require.NoError(t, n.beat(t.Context()), "what it has is good still")
	require.NoError(t, os.Remove(cfg.CredentialFile))
	require.ErrorIs(t, n.Rotate(t.Context()), os.ErrNotExist)
	require.NoError(t, n.beat(t.Context()))
}

// Calls that are under way while the key changes are answered all the same.
func TestRotateUnderLoad(t *testing.T) {
	s := newSite(t)
	n := s.node(s.config())
	stop := make(chan struct{})
	failures := make(chan error, 8)
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := n.Drain(t.Context(), n.Server, true); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	for range 10 {
		require.NoError(t, n.Rotate(t.Context()))
	}
	close(stop)
	callers.Wait()
	require.Empty(t, failures)
}

// A rotation that was cut off for more than a day has no key left that counts: the error says that it is so.
func TestRotateTooLate(t *testing.T) {
	s := newSite(t)
	n := s.node(s.config())
	s.fails(lose)
	require.Error(t, n.Rotate(t.Context()))
	s.fails(nil)
	s.clock.Advance(25 * time.Hour)
	require.ErrorIs(t, n.Rotate(t.Context()), registry.ErrDenied)
}

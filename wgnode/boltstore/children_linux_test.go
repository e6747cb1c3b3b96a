package boltstore_test

func childrenHere() map[string]func([]string) error {
	return map[string]func([]string) error{
		"supervised": supervised, "failing": failing, "live": live,
		"mounts": mounts, "full": full, "read-only": readOnly, "unprivileged": unprivileged,
		"node-full": nodeOnFullDisk, "node-read-only": nodeOnReadOnlyDisk, "node-failing": nodeOnFailingDisk,
	}
}

package boltkeys_test

func serve([]string) error { return nil }

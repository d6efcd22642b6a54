// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

const etcdStarts = time.Minute

// startEtcd runs etcd in this process, on a socket in the directory, and returns the socket's URL. What it has written
// survives the end of the process, though not that of the machine: nothing here waits for a disk.
func startEtcd(directory string) (string, error) {
	wal.SegmentSizeBytes = 4 << 20
	config := embed.NewConfig()
	config.Dir = filepath.Join(directory, "etcd")
	config.UnsafeNoFsync = true
	config.LogLevel = "warn"
	config.LogOutputs = []string{"stderr"}
	socket := "unix://" + filepath.Join(directory, "etcd.socket")
	address, err := url.Parse(socket)
	if err != nil {
		return "", err
	}
	config.ListenClientUrls = []url.URL{*address}
	config.ListenPeerUrls = nil
	server, err := embed.StartEtcd(config)
	if err != nil {
		return "", fmt.Errorf("etcd: %w", err)
	}
	select {
	case <-server.Server.ReadyNotify():
		return socket, nil
	case err := <-server.Err():
		return "", fmt.Errorf("etcd: %w", err)
	case <-time.After(etcdStarts):
		return "", fmt.Errorf("etcd was not ready within %s", etcdStarts)
	}
}

//go:build unix && !linux

package job

import "syscall"

func dieWithParent(*syscall.SysProcAttr) {} // only Linux can

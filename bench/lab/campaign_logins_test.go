package lab_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/lab"
)

const rootPassword = "the campaign's own"

// logins are the users of etcd as which the grid's parts log in, one for each, and whom etcd
// lets in.
type logins struct {
	dir       string            // holds a file for each part, with its password
	on        bool              // etcd has its authentication on
	passwords map[string]string // that etcd knows, by part
	made      int               // passwords until now
}

// newLogins writes a password file for each part. etcd knows none of them yet.
func newLogins(t *testing.T) *logins {
	t.Helper()
	l := &logins{dir: t.TempDir(), passwords: map[string]string{}}
	for _, part := range partsWithLogins() {
		if err := l.write(part, "none yet", false); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// partsWithLogins are all that ask etcd.
func partsWithLogins() []string { return append(campaignRouters(), lab.GSLB, lab.Ctl) }

// of is Login of [lab.Config].
func (l *logins) of(part string) (user, passwordFile string) { return part, l.file(part) }

func (l *logins) file(part string) string { return filepath.Join(l.dir, part) }

// copy is how things stand now, for a backup.
func (l *logins) copy() *logins {
	return &logins{dir: l.dir, on: l.on, passwords: maps.Clone(l.passwords), made: l.made}
}

// write writes the file of a part: in place, which a reader may see empty, or whole.
func (l *logins) write(part, password string, inPlace bool) error {
	if inPlace {
		return os.WriteFile(l.file(part), []byte(password+"\n"), 0o600)
	}
	next := l.file(part) + ".next"
	if err := os.WriteFile(next, []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(next, l.file(part))
}

// newPassword is one that was not used before.
func (l *logins) newPassword(part string) string {
	l.made++
	return fmt.Sprintf("%s-%d", part, l.made)
}

// rightsOf are the rights that docs/FOLLOWING.md has a part need.
func rightsOf(part string) (rights []right) {
	switch part {
	case lab.Ctl:
		return []right{prefixRight("", clientv3.PermReadWrite)}
	case lab.GSLB:
		return []right{prefixRight("docs/gslb/", clientv3.PermRead), prefixRight("guard/", clientv3.PermRead), prefixRight("gslb/", clientv3.PermReadWrite)}
	}
	return []right{
		{campaignPrefix + "docs/", campaignPrefix + "guard0", clientv3.PermRead},
		prefixRight("fleet/", clientv3.PermReadWrite), prefixRight("guard/epochs/", clientv3.PermReadWrite),
	}
}

// right is what etcd lets a role do on a range of keys.
type right struct {
	from, to string
	kind     authpb.Permission_Type
}

func prefixRight(prefix string, kind authpb.Permission_Type) right {
	return right{campaignPrefix + prefix, clientv3.GetPrefixRangeEnd(campaignPrefix + prefix), kind}
}

// addUser makes a part known to etcd, with its rights.
func (l *logins) addUser(ctx context.Context, client *clientv3.Client, part string) error {
	_, err := client.UserAdd(ctx, part, l.passwords[part])
	if err != nil {
		return err
	}
	_, err = client.UserGrantRole(ctx, part, part)
	return err
}

// turnLoginsOn makes users and turns etcd's authentication on; password files are there
// before or after that.
func (c *campaign) turnLoginsOn() error {
	early := c.chance(2)
	for _, part := range partsWithLogins() {
		c.logins.passwords[part] = c.logins.newPassword(part)
	}
	if early {
		if err := c.handOutPasswords(partsWithLogins()); err != nil {
			return err
		}
	}
	err := c.withEtcd(func(ctx context.Context, client *clientv3.Client) error {
		if err := forgetUsers(ctx, client); err != nil {
			return err
		}
		for _, part := range partsWithLogins() {
			if _, err := client.RoleAdd(ctx, part); err != nil {
				return err
			}
			if err := grant(ctx, client, part); err != nil {
				return err
			}
			if err := c.logins.addUser(ctx, client, part); err != nil {
				return err
			}
		}
		_, err := client.RoleAdd(ctx, "root")
		if err != nil && !errors.Is(err, rpctypes.ErrRoleAlreadyExist) {
			return err
		}
		if _, err := client.UserAdd(ctx, "root", rootPassword); err != nil {
			return err
		}
		if _, err := client.UserGrantRole(ctx, "root", "root"); err != nil {
			return err
		}
		_, err = client.AuthEnable(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("etcd's authentication cannot be turned on: %w", err)
	}
	c.logins.on = true
	if early {
		return nil
	}
	c.last(0, 3*time.Second)
	return c.handOutPasswords(partsWithLogins())
}

// forgetUsers takes away the users and roles of before, while authentication is off.
func forgetUsers(ctx context.Context, client *clientv3.Client) error {
	users, err := client.UserList(ctx)
	if err != nil {
		return err
	}
	for _, user := range users.Users {
		if _, err := client.UserDelete(ctx, user); err != nil {
			return err
		}
	}
	roles, err := client.RoleList(ctx)
	if err != nil {
		return err
	}
	for _, role := range roles.Roles {
		if _, err := client.RoleDelete(ctx, role); err != nil {
			return err
		}
	}
	return nil
}

func grant(ctx context.Context, client *clientv3.Client, part string) error {
	for _, r := range rightsOf(part) {
		if _, err := client.RoleGrantPermission(ctx, part, r.from, r.to, clientv3.PermissionType(r.kind)); err != nil {
			return err
		}
	}
	return nil
}

func revoke(ctx context.Context, client *clientv3.Client, part string) error {
	for _, r := range rightsOf(part) {
		if _, err := client.RoleRevokePermission(ctx, part, r.from, r.to); err != nil {
			return err
		}
	}
	return nil
}

// handOutPasswords writes to the files of parts what etcd knows. Of a time before there were users
// it knows nothing.
func (c *campaign) handOutPasswords(parts []string) error {
	for _, part := range parts {
		password, known := c.logins.passwords[part]
		if !known {
			continue
		}
		if err := c.logins.write(part, password, c.chance(2)); err != nil {
			return err
		}
	}
	return nil
}

// logInAgain puts etcd's volume of a backup, with the users of that time, in force, and hands
// out their passwords, before or after etcd is there.
func (c *campaign) logInAgain(of *logins, start func(part string) error) error {
	made := c.logins.made
	*c.logins = *of.copy()
	c.logins.made = made
	early := c.chance(2)
	if early {
		if err := c.handOutPasswords(partsWithLogins()); err != nil {
			return err
		}
	}
	if err := start(lab.Etcd); err != nil || early {
		return err
	}
	c.last(0, 3*time.Second)
	return c.handOutPasswords(partsWithLogins())
}

// loginsAreRotated gives parts new passwords, or takes away for a while what lets them in,
// while changes are made.
func loginsAreRotated(c *campaign) error {
	c.withoutEtcd()
	stop := c.writer()
	defer stop()
	if !c.logins.on {
		c.note("turned on")
		return c.turnLoginsOn()
	}
	parts := partsWithLogins()
	c.rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	parts = parts[:1+c.rng.IntN(len(parts))]
	takeAway, giveBack, how := c.rotation(parts)
	c.note("%s, %v", how, parts)
	if err := takeAway(); err != nil {
		return err
	}
	if err := c.whileShutOut(parts, stop); err != nil {
		return err
	}
	return giveBack()
}

// rotation draws what happens to the logins of parts: something that shuts them out, and
// something that lets them in again.
func (c *campaign) rotation(parts []string) (takeAway, giveBack func() error, how string) {
	rename := func() {
		for _, part := range parts {
			c.logins.passwords[part] = c.logins.newPassword(part)
		}
	}
	inEtcd := c.inEtcd(parts)
	setPasswords := inEtcd(func(ctx context.Context, client *clientv3.Client, part string) error {
		_, err := client.UserChangePassword(ctx, part, c.logins.passwords[part])
		return err
	})
	handOut := func() error { return c.handOutPasswords(parts) }
	switch c.rng.IntN(5) {
	case 0:
		rename()
		return setPasswords, handOut, "passwords changed, then their files"
	case 1:
		rename()
		return handOut, setPasswords, "files changed, then passwords"
	case 2:
		return inEtcd(func(ctx context.Context, client *clientv3.Client, part string) error {
				_, err := client.UserDelete(ctx, part)
				return err
			}), inEtcd(func(ctx context.Context, client *clientv3.Client, part string) error {
				return c.logins.addUser(ctx, client, part)
			}), "users deleted and made again"
	case 3:
		return inEtcd(revoke), inEtcd(grant), "rights taken and given again"
	}
	return func() error {
			c.logins.on = false
			return c.withEtcd(func(ctx context.Context, client *clientv3.Client) error {
				_, err := client.AuthDisable(ctx)
				return err
			})
		}, func() error {
			if c.chance(2) {
				return nil // it stays off
			}
			return c.turnLoginsOn()
		}, "authentication turned off"
}

// inEtcd makes a step for each of the parts out of one for one.
func (c *campaign) inEtcd(parts []string) func(step func(context.Context, *clientv3.Client, string) error) func() error {
	return func(step func(context.Context, *clientv3.Client, string) error) func() error {
		return func() error {
			return c.withEtcd(func(ctx context.Context, client *clientv3.Client) error {
				for _, part := range parts {
					if err := step(ctx, client, part); err != nil {
						return fmt.Errorf("%s: %w", part, err)
					}
				}
				return nil
			})
		}
	}
}

// whileShutOut lets parts be shut out for a while; now and then one of the routers among them
// is killed meanwhile, and goes on from its snapshot.
func (c *campaign) whileShutOut(parts []string, stop func()) error {
	c.last(0, 5*time.Second)
	routers := slices.DeleteFunc(slices.Clone(parts), func(part string) bool { return !slices.Contains(campaignRouters(), part) })
	if len(routers) > 0 && c.chance(2) {
		if err := c.remember(routers[:1]); err != nil {
			return err
		}
		c.note("%s killed meanwhile", routers[0])
		if err := c.restart(routers[0]); err != nil {
			return err
		}
		c.last(0, 3*time.Second)
	}
	stop()
	c.waitTells()
	return nil
}

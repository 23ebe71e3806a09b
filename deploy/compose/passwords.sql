-- The logins of ../sql/logins.sql get the passwords that secrets.sh made.
\set owner `cat /run/secrets/owner_password`
\set app `cat /run/secrets/app_password`
\set grafana `cat /run/secrets/grafana_password`
alter role syncer_owner password :'owner';
alter role syncer_app password :'app';
alter role syncer_grafana password :'grafana';

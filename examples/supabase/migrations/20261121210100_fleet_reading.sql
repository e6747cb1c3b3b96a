-- +goose Up

-- How the functions of the fleet read and write JSON. Names with two underscores are of use to them alone.

-- +goose StatementBegin
create function waylume__refuse(code text, message text, detail text default null) returns void
language plpgsql as $$
begin
	if detail is null then
		raise exception using errcode = code, message = message;
	end if;
	raise exception using errcode = code, message = message, detail = detail;
end $$;
-- +goose StatementEnd

-- The value of a field: null where it is missing, is null, or the whole is not an object.
-- +goose StatementBegin
create function waylume__field(j jsonb, field text, kind text) returns jsonb
language plpgsql immutable as $$
declare
	v jsonb := j -> field;
begin
	if jsonb_typeof(j) is distinct from 'object' then
		raise exception using errcode = 'WL001', message = 'an object is wanted';
	end if;
	if v is null or jsonb_typeof(v) = 'null' then
		return null;
	end if;
	if jsonb_typeof(v) <> kind then
		raise exception using errcode = 'WL001', message = format('%s: a %s is wanted', field, kind);
	end if;
	return v;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function waylume__text(j jsonb, field text, longest integer, needed boolean default false) returns text
language plpgsql immutable as $$
declare
	v text := coalesce(waylume__field(j, field, 'string') #>> '{}', '');
begin
	if octet_length(v) > longest then
		raise exception using errcode = 'WL001', message = format('%s: has %s bytes, may have %s', field, octet_length(v), longest);
	end if;
	if needed and v = '' then
		raise exception using errcode = 'WL001', message = format('%s: is missing', field);
	end if;
	if v ~ '[\u0001-\u001F\u007F-\u009F]' then
		raise exception using errcode = 'WL001', message = format('%s: has a control character', field);
	end if;
	return v;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function waylume__texts(j jsonb, field text, most integer, longest integer) returns text[]
language plpgsql immutable as $$
declare
	v jsonb := waylume__field(j, field, 'array');
	found text[] := '{}';
	one jsonb;
begin
	if v is null then
		return found;
	end if;
	if jsonb_array_length(v) > most then
		raise exception using errcode = 'WL001', message = format('%s: has %s entries, may have %s', field, jsonb_array_length(v), most);
	end if;
	for one in select * from jsonb_array_elements(v) loop
		if jsonb_typeof(one) <> 'string' or octet_length(one #>> '{}') not between 1 and longest
			or (one #>> '{}') ~ '[\u0001-\u001F\u007F-\u009F]' then
			raise exception using errcode = 'WL001',
				message = format('%s: each entry is a string of 1 to %s bytes without control characters', field, longest);
		end if;
		found := found || (one #>> '{}');
	end loop;
	return found;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function waylume__number(j jsonb, field text, lowest numeric, highest numeric) returns double precision
language plpgsql immutable as $$
declare
	v numeric := (waylume__field(j, field, 'number') #>> '{}')::numeric;
begin
	if v not between lowest and highest then
		raise exception using errcode = 'WL001', message = format('%s: is %s, may be %s to %s', field, v, lowest, highest);
	end if;
	return v::double precision;
end $$;
-- +goose StatementEnd

-- 0 where there is none.
-- +goose StatementBegin
create function waylume__integer(j jsonb, field text, lowest bigint, highest bigint) returns bigint
language plpgsql immutable as $$
declare
	v numeric := coalesce((waylume__field(j, field, 'number') #>> '{}')::numeric, 0);
begin
	if v <> trunc(v) or v not between lowest and highest then
		raise exception using errcode = 'WL001', message = format('%s: is %s, may be a whole number of %s to %s', field, v, lowest, highest);
	end if;
	return v::bigint;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function waylume__boolean(j jsonb, field text) returns boolean
language sql immutable as $$
	select coalesce((waylume__field(j, field, 'boolean') #>> '{}')::boolean, false)
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create function waylume__uuid(j jsonb, field text) returns uuid
language plpgsql immutable as $$
declare
	v text := waylume__text(j, field, 36);
begin
	if v = '' then
		return null;
	end if;
	if v !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
		raise exception using errcode = 'WL001', message = format('%s: is no UUID in lower case', field);
	end if;
	return v::uuid;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function waylume__uuids(j jsonb, field text, most integer) returns uuid[]
language plpgsql immutable as $$
declare
	v text[] := waylume__texts(j, field, most, 36);
	one text;
begin
	foreach one in array v loop
		if one !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
			raise exception using errcode = 'WL001', message = format('%s: an entry is no UUID in lower case', field);
		end if;
	end loop;
	return v::uuid[];
end $$;
-- +goose StatementEnd

-- RFC 3339. Null where there is none.
-- +goose StatementBegin
create function waylume__time(j jsonb, field text) returns timestamptz
language plpgsql stable as $$
declare
	v text := waylume__text(j, field, 40);
begin
	if v = '' or v like '0001-01-01T00:00:00%' then
		return null;
	end if;
	if v !~ '^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$' then
		raise exception using errcode = 'WL001', message = format('%s: is no time of RFC 3339', field);
	end if;
	return v::timestamptz;
exception when datetime_field_overflow or invalid_datetime_format then
	raise exception using errcode = 'WL001', message = format('%s: is no time of RFC 3339', field);
end $$;
-- +goose StatementEnd

-- A WireGuard key in base64. It is needed, and not all zeros.
-- +goose StatementBegin
create function waylume__key(j jsonb, field text) returns text
language plpgsql immutable as $$
declare
	v text := waylume__text(j, field, 44, true);
begin
	if v !~ '^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$' or v ~ '^A{43}=$' then
		raise exception using errcode = 'WL001', message = format('%s: a WireGuard key is 32 bytes in base64, 44 characters', field);
	end if;
	return v;
end $$;
-- +goose StatementEnd

-- ADDRESS:PORT, of the family 4 or 6. Null where there is none.
-- +goose StatementBegin
create function waylume__endpoint(j jsonb, field text, wanted integer) returns text
language plpgsql immutable as $$
declare
	v text := waylume__text(j, field, 64);
	parts text[];
begin
	if v = '' then
		return null;
	end if;
	parts := regexp_match(v, case wanted when 4 then '^(\d+\.\d+\.\d+\.\d+):(\d{1,5})$' else '^\[([0-9A-Fa-f:.]+)\]:(\d{1,5})$' end);
	if parts is null or parts[2]::integer not between 1 and 65535 or family(parts[1]::inet) <> wanted then
		raise exception using errcode = 'WL001', message = format('%s: is no address of IPv%s with a port', field, wanted);
	end if;
	return v;
exception when invalid_text_representation then
	raise exception using errcode = 'WL001', message = format('%s: is no address of IPv%s with a port', field, wanted);
end $$;
-- +goose StatementEnd

-- A time as Go's JSON has it: in UTC, and the year 1 for none.
-- +goose StatementBegin
create function waylume__stamp(t timestamptz) returns text
language sql stable as $$
	select coalesce(to_char(t at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '0001-01-01T00:00:00Z')
$$;
-- +goose StatementEnd

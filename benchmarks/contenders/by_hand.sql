-- The tables of the pipeline and the tests of its models, written by hand for one load into an empty database: no ledger,
-- no gates, no quarantine, no history and no increments.
--
-- Variables: work (folder with files.csv, broken.csv and pieces of text), users and episodes (reference data), now.
-- Left to chance where the pipeline is strict: NaN, Infinity and commas before a closing bracket are taken for JSON; of two
-- equal keys the first counts; a number such as 1e3 may be rewritten; blank means spaces, tabs and line ends; times
-- that are cast although the extended format does not have them, as with a comma for a point, are lost or let in as the engine does.

set TimeZone = 'UTC';
set memory_limit = '2GB';
set preserve_insertion_order = false;
set enable_progress_bar = false;

create schema bronze;
create schema silver;
create schema gold;

-- the 25 characters with the property White_Space
create temp macro white_space() as
    chr(9) || chr(10) || chr(11) || chr(12) || chr(13) || chr(32) || chr(133) || chr(160) || chr(5760)
    || chr(8192) || chr(8193) || chr(8194) || chr(8195) || chr(8196) || chr(8197) || chr(8198) || chr(8199)
    || chr(8200) || chr(8201) || chr(8202) || chr(8232) || chr(8233) || chr(8239) || chr(8287) || chr(12288);
create temp macro trimmed(t) as case
    when t[1] between '!' and '~' and t[-1] between '!' and '~' then t -- as nearly all do
    else trim(t, white_space())
end;
-- a mean that does not depend on the order of its rows
create temp macro mean(x) as cast(sum(cast(x as decimal(38, 15))) as double) / nullif(count(x), 0);
create temp macro share(part, whole) as cast(part as double) / nullif(whole, 0);
create temp macro reaches(claim, length, per_cent) as
    coalesce(length > 0 and 100 * cast(claim as bigint) >= per_cent * cast(length as bigint), false);
create temp macro event_key(u, e, kind, happened_at) as
    length(u) || ':' || u || ':' || length(e) || ':' || e || ':' || kind || ':' || epoch_us(happened_at);

-- one time of loading, and a microsecond for each file to tell them apart
create temp table files as
select
    file,
    filename,
    left(sha256('1' || chr(0) || filename), 16) as batch_id,
    getvariable('now') + to_microseconds(file) as load_at
from read_csv(getvariable('work') || '/files.csv', columns = {'file': 'bigint', 'filename': 'varchar'}, header = false);


-- Every line that is not blank, with its number and its codes.

create table bronze.validated_events as
with pieces as (
    -- reading text is not parallel in itself
    select filename, string_split(content, chr(10)) as lines from read_text(getvariable('work') || '/0/*.txt')
    union all
    select filename, string_split(content, chr(10)) as lines from read_text(getvariable('work') || '/1/*.txt')
),
lines as (
    select
        cast(regexp_extract(filename, '([0-9]+)-[0-9]+[.]txt$', 1) as bigint) as file,
        cast(regexp_extract(filename, '([0-9]+)[.]txt$', 1) as bigint) + unnest(range(len(lines))) as line_number,
        rtrim(unnest(lines), chr(13)) as line,
        cast(null as blob) as line_bytes
    from pieces
    union all
    select file, line_number, null, unhex(bytes)
    from read_csv(
        getvariable('work') || '/broken.csv',
        columns = {'file': 'bigint', 'line_number': 'bigint', 'bytes': 'varchar'},
        header = false
    )
),
objects as (
    select *, case when json_valid(line) and json_type(line) = 'OBJECT' then line end as object
    from lines
    where line is null or trim(line, chr(9) || chr(32)) <> ''
),
texts as (
    select
        *,
        json_extract_string(object, ['event_type', 'user_id', 'episode_id', 'timestamp', 'duration']) as t,
        -- few lines have a bracket inside
        case
            when object like '_%{%' or object like '_%[%'
                then list_transform(
                    json_type(object, ['event_type', 'user_id', 'episode_id', 'timestamp', 'duration']),
                    lambda kind: kind in ('OBJECT', 'ARRAY')
                )
        end as nested,
        json_keys(object) as keys,
        -- as many keys as values are those that were looked for
        coalesce(
            len(keys) <> list_count(t)
            and not list_has_all(['event_type', 'user_id', 'episode_id', 'timestamp', 'duration'], keys),
            false
        ) as has_further_keys
    from objects
),
raw_events as (
    select
        * exclude (t, keys, nested, line),
        case when not coalesce(nested[1], false) then t[1] end as event_type,
        case when not coalesce(nested[2], false) then t[2] end as user_id,
        case when not coalesce(nested[3], false) then t[3] end as episode_id,
        case when not coalesce(nested[4], false) then t[4] end as "timestamp",
        case when not coalesce(nested[5], false) then t[5] end as duration,
        case when object is null or has_further_keys or list_contains(nested, true) then line end as rescued
    from texts
),
parsed as (
    select
        *,
        trimmed(user_id) as trimmed_user_id,
        trimmed(episode_id) as trimmed_episode_id,
        lower(trimmed(event_type)) as event_kind,
        case
            when regexp_full_match("timestamp", '\d{4}-\d\d-\d\d[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d([.]\d+)?)?(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)?')
                then cast(try_cast("timestamp" as timestamptz) as timestamp)
        end as event_at,
        case
            when regexp_full_match(duration, '[+-]?[0-9]+([.]0+)?')
                then coalesce(
                    try_cast(split_part(duration, '.', 1) as bigint),
                    if(duration[1] = '-', -999999999999999999, 999999999999999999)
                )
        end as whole_duration,
        coalesce(event_kind in ('play', 'complete'), false) as has_duration,
        coalesce(event_kind in ('pause', 'seek'), false) as has_no_duration
    from raw_events
),
coded as (
    select
        parsed.*,
        files.batch_id,
        files.filename,
        files.load_at,
        case
            when object is null then ['malformed_json']
            else list_filter([
                case when user_id is null then 'missing_user_id' when trimmed_user_id = '' then 'empty_user_id' end,
                case when episode_id is null then 'missing_episode_id' when trimmed_episode_id = '' then 'empty_episode_id' end,
                case
                    when "timestamp" is null then 'missing_timestamp'
                    when event_at is null then 'invalid_timestamp'
                    when event_at < timestamp '2000-01-01' then 'timestamp_too_early'
                    when event_at > files.load_at + interval 60 minutes then 'timestamp_in_future'
                end,
                case
                    when event_type is null then 'missing_event_type'
                    when not has_duration and not has_no_duration then 'invalid_event_type'
                end,
                case
                    when has_duration and coalesce(whole_duration, 0) <= 0 then 'invalid_duration'
                    when has_duration and whole_duration > 86400 then 'duration_out_of_range'
                    when has_no_duration and duration is not null then 'unexpected_duration'
                end
            ], lambda code: code is not null)
        end as validation_errors
    from parsed
    inner join files using (file)
)
select
    batch_id, filename, file, line_number,
    event_type, user_id, episode_id, "timestamp", duration,
    rescued, line_bytes as rescued_bytes,
    event_kind, whole_duration,
    validation_errors, len(validation_errors) = 0 as is_valid, object is null as is_malformed, has_further_keys,
    case when validation_errors = [] then event_at end as event_at, load_at
from coded;


-- One row an event: of those with one key the last, by file and line.

create table silver.cleansed_events as
with events as (
    select
        trimmed(user_id) as user_id,
        trimmed(episode_id) as episode_id,
        event_kind as event_type,
        event_at as "timestamp",
        max((file << 40) + line_number) as place,
        arg_max(case when event_kind in ('play', 'complete') then cast(whole_duration as integer) else -1 end, (file << 40) + line_number) as duration,
        count(*) - 1 as duplicate_count
    from bronze.validated_events
    where is_valid
    group by all
)
select
    md5(event_key(user_id, episode_id, event_type, "timestamp")) as interaction_id,
    user_id, episode_id, batch_id, event_type, filename,
    nullif(duration, -1) as duration,
    place & ((1::bigint << 40) - 1) as line_number,
    duplicate_count, "timestamp", load_at
from events
inner join files on files.file = place >> 40;

create table silver.users as
select cast(user_id as varchar) as user_id, cast(signup_date as date) as signup_date, cast(country as varchar) as country
from read_parquet(getvariable('users'));

create table silver.episodes as
select * from read_csv(
    getvariable('episodes'),
    columns = {'episode_id': 'varchar', 'podcast_id': 'varchar', 'title': 'varchar', 'release_date': 'date', 'duration_seconds': 'integer'},
    header = true, quote = '"', escape = '"'
);


-- Facts and dimensions.

create table gold.fact_user_interactions as
select
    interaction_id, user_id, episode_id, batch_id, event_type, duration,
    "timestamp", cast("timestamp" as date) as event_date, load_at
from silver.cleansed_events;

create table gold.dim_users as
select user_id, country, false as is_inferred, signup_date from silver.users
union all
select user_id, null, true, null
from (select distinct user_id from gold.fact_user_interactions)
anti join silver.users using (user_id);

create table gold.dim_episodes as
select episode_id, podcast_id, title, duration_seconds, false as is_inferred, release_date from silver.episodes
union all
select episode_id, null, null, null, true, null
from (select distinct episode_id from gold.fact_user_interactions)
anti join silver.episodes using (episode_id);

create table gold.dim_podcasts as
select
    podcast_id, count(*) as episode_count, count(*) filter (duration_seconds > 0) as episodes_of_known_length,
    min(release_date) as first_release_date, max(release_date) as last_release_date
from gold.dim_episodes
where podcast_id is not null
group by podcast_id;

-- what has been seen: from the first day to the one after the last
create temp table seen as
select min(event_date) as start_date, max(event_date) + 1 as end_date from gold.fact_user_interactions;

create table gold.dim_dates as
select
    day as date_day,
    cast(year(day) as integer) as year, cast(quarter(day) as integer) as quarter, cast(month(day) as integer) as month,
    cast(week(day) as integer) as iso_week, cast(isodow(day) as integer) as day_of_week, isodow(day) >= 6 as is_weekend,
    cast(date_trunc('month', day) as date) as month_start, cast(date_trunc('week', day) as date) as week_start
from (
    select cast(unnest(generate_series(
        cast(date_trunc('year', start_date) as timestamp),
        make_timestamp(year(end_date - 1), 12, 31, 0, 0, 0),
        interval 1 day
    )) as date) as day
    from seen
);


-- Listens: sessions of one user and episode, ended by 30 minutes without activity.

create table gold.fact_listens as
with activities as (
    select
        user_id, episode_id, event_type, duration, load_at,
        "timestamp" as happened_at,
        case when event_type = 'play' then "timestamp" + to_seconds(duration) else "timestamp" end as until
    from gold.fact_user_interactions
),
gaps as (
    select
        *,
        lag(until) over w as before,
        min(happened_at) filter (event_type = 'play') over (partition by user_id, episode_id) as first_played_at
    from activities
    window w as (partition by user_id, episode_id order by happened_at, event_type)
),
sessions as (
    select
        *,
        count(*) filter (before is null or happened_at >= before + interval 30 minutes) over (
            partition by user_id, episode_id order by happened_at, event_type rows unbounded preceding
        ) as session
    from gaps
),
listens as (
    select
        user_id, episode_id,
        count(*) as event_count,
        count(*) filter (event_type = 'play') as starts,
        max(duration) as claim,
        min(happened_at) filter (event_type = 'complete') as completed_at,
        any_value(first_played_at) as first_played_at,
        min(happened_at) as started_at,
        max(until) as ended_at,
        max(load_at) as last_load_at
    from sessions
    group by user_id, episode_id, session
    having bool_or(event_type in ('play', 'complete'))
),
measured as (
    select
        listens.*,
        duration_seconds as length,
        completed_at is not null as is_completed,
        row_number() over (partition by user_id, episode_id order by started_at) as session_number
    from listens
    left join silver.episodes using (episode_id)
)
select
    md5(event_key(user_id, episode_id, 'listen', started_at)) as listen_id,
    user_id, episode_id, session_number, event_count, starts,
    claim as furthest_claim_seconds,
    case when length > 0 then least(claim, length) else claim end as listened_seconds,
    length as episode_seconds,
    case when length > 0 then cast(claim as double) / length end as listen_fraction,
    is_completed,
    is_completed and reaches(claim, length, 95) as is_completion_qualified,
    case when length > 0 and length < 60 then reaches(claim, length, 95) else claim >= 60 end as is_valid,
    claim >= 1200 or reaches(claim, length, 40) as is_engaged,
    row_number() over (partition by user_id, episode_id, cast(started_at as date) order by started_at) = 1 as is_first_of_day,
    (claim >= 1200 or reaches(claim, length, 40)) and row_number() over (
        partition by user_id, episode_id, cast(started_at as date), claim >= 1200 or reaches(claim, length, 40)
        order by started_at
    ) = 1 as is_first_engaged_of_day,
    coalesce(length > 0 and claim > length, false) as is_overlong,
    is_completed and coalesce(first_played_at > completed_at, true) as is_completion_without_play,
    started_at, ended_at, cast(started_at as date) as event_date, last_load_at
from measured;


-- By episode.

create table gold.episode_daily as
with days as (
    select
        episode_id, event_date,
        cast(sum(starts) as bigint) as starts,
        count(*) as listens,
        count(*) filter (is_valid) as valid_listens,
        count(*) filter (is_completed) as completions,
        count(*) filter (is_completion_qualified) as qualified_completions,
        count(*) filter (is_overlong) as overlong_listens,
        count(*) filter (is_completion_without_play) as completions_without_play,
        count(*) filter (session_number = 1) as new_listeners,
        cast(sum(listened_seconds) as bigint) as listened_seconds,
        count(distinct user_id) as unique_listeners,
        count(distinct user_id) filter (is_engaged) as engaged_listeners,
        max(last_load_at) as last_load_at
    from gold.fact_listens
    group by episode_id, event_date
)
select
    days.* exclude (event_date, last_load_at),
    listened_seconds / 3600.0::double as hours,
    coalesce(event_date < release_date, false) as is_before_release,
    event_date, last_load_at
from days
left join gold.dim_episodes using (episode_id);

create table gold.episode_listen_through as
with episodes as (
    select
        episode_id,
        count(*) as listens,
        count(listen_fraction) as known,
        count(*) filter (episode_seconds is null) as unknown,
        count(*) filter (episode_seconds <= 0) as zero,
        count(*) filter (is_completed) as completions,
        count(*) filter (is_completion_qualified) as qualified,
        count(*) filter (is_overlong) as overlong,
        count(*) filter (is_completion_without_play) as without_play,
        count(*) filter (reaches(furthest_claim_seconds, episode_seconds, 10)) as reaching_10,
        count(*) filter (reaches(furthest_claim_seconds, episode_seconds, 25)) as reaching_25,
        count(*) filter (reaches(furthest_claim_seconds, episode_seconds, 50)) as reaching_50,
        count(*) filter (reaches(furthest_claim_seconds, episode_seconds, 75)) as reaching_75,
        count(*) filter (reaches(furthest_claim_seconds, episode_seconds, 95)) as reaching_95,
        mean(listen_fraction) as mean_fraction,
        mean(if(listen_fraction > 1, 1, listen_fraction)) as mean_fraction_capped,
        median(listen_fraction) as median_fraction,
        median(if(listen_fraction > 1, 1, listen_fraction)) as median_fraction_capped
    from gold.fact_listens
    group by episode_id
)
select
    episode_id,
    coalesce(listens, 0) as listens,
    coalesce(known, 0) as listens_of_known_length,
    coalesce(unknown, 0) as listens_of_unknown_length,
    coalesce(zero, 0) as listens_of_zero_length,
    coalesce(completions, 0) as completions,
    coalesce(qualified, 0) as qualified_completions,
    coalesce(overlong, 0) as overlong_listens,
    coalesce(without_play, 0) as completions_without_play,
    share(episodes.completions, episodes.listens) as completion_share,
    share(qualified, known) as qualified_completion_share,
    share(reaching_10, known) as share_reaching_10,
    share(reaching_25, known) as share_reaching_25,
    share(reaching_50, known) as share_reaching_50,
    share(reaching_75, known) as share_reaching_75,
    share(reaching_95, known) as share_reaching_95,
    mean_fraction, mean_fraction_capped, median_fraction, median_fraction_capped
from gold.dim_episodes
left join episodes using (episode_id);

create table gold.episode_release_curve as
with curves as (
    select
        e.episode_id, e.podcast_id, w.days as days_since_release, e.release_date,
        e.release_date + w.days as window_ends_on,
        coalesce(sum(d.new_listeners) filter (d.event_date < e.release_date + w.days), 0) as reached,
        cast(coalesce(sum(d.new_listeners) filter (d.event_date < e.release_date), 0) as bigint) as listeners_before_release,
        coalesce(bool_or(d.event_date < e.release_date), false) as has_listens_before_release
    from gold.dim_episodes as e
    cross join (select unnest([1, 3, 7, 30, 60]) as days) as w
    left join gold.episode_daily as d using (episode_id)
    where e.release_date is not null
    group by all
),
seen_curves as (
    select
        curves.*,
        case when window_ends_on <= end_date and window_ends_on > start_date then cast(reached as bigint) end as listeners,
        window_ends_on <= end_date as is_window_over,
        release_date < start_date as is_released_before_data
    from curves
    cross join seen
),
shows as (
    select podcast_id, days_since_release, median(listeners) as show_median_listeners
    from seen_curves
    where podcast_id is not null and not is_released_before_data
    group by all
)
select
    episode_id, podcast_id, days_since_release, listeners, show_median_listeners,
    share(listeners, show_median_listeners) as ratio_to_show_median,
    listeners_before_release, has_listens_before_release, is_window_over, is_released_before_data, release_date, window_ends_on
from seen_curves
left join shows using (podcast_id, days_since_release);


-- By listener.

create table gold.listener_daily as
with heard as (
    select user_id, event_date, count(distinct episode_id) as episodes, count(distinct podcast_id) as podcasts
    from gold.fact_user_interactions
    left join gold.dim_episodes using (episode_id)
    where event_type in ('play', 'complete')
    group by user_id, event_date
),
begun as (
    select
        user_id, event_date, count(*) as listens, count(*) filter (is_valid) as valid_listens,
        cast(sum(listened_seconds) as bigint) as listened_seconds
    from gold.fact_listens
    group by user_id, event_date
)
select
    user_id,
    coalesce(episodes, 0) as episodes,
    coalesce(podcasts, 0) as podcasts,
    coalesce(listens, 0) as listens,
    coalesce(valid_listens, 0) as valid_listens,
    coalesce(begun.listened_seconds, 0) as listened_seconds,
    coalesce(begun.listened_seconds, 0) / 3600.0::double as hours,
    coalesce(heard.episodes >= 3, false) as is_multi_episode,
    event_date
from heard
full join begun using (user_id, event_date);

create table gold.listener_episodes as
with firsts as (
    select user_id, episode_id, any_value(podcast_id) as podcast_id, count(*) as listens, min(started_at) as first_listen_at
    from gold.fact_listens
    left join gold.dim_episodes using (episode_id)
    group by user_id, episode_id
),
later as (
    select user_id, podcast_id, episode_id, started_at
    from gold.fact_listens
    inner join gold.dim_episodes using (episode_id)
)
select
    user_id, episode_id, podcast_id, listens,
    exists (
        select 1 from later
        where later.user_id = firsts.user_id and later.podcast_id = firsts.podcast_id
            and later.episode_id <> firsts.episode_id
            and later.started_at >= first_listen_at and later.started_at < first_listen_at + interval 7 days
    ) as went_on,
    first_listen_at,
    cast(first_listen_at as date) as first_listen_date
from firsts;

create table gold.episode_transitions as
with listeners as (
    select episode_id, podcast_id, went_on, first_listen_date + 8 <= end_date as is_observed
    from gold.listener_episodes
    cross join seen
    where podcast_id is not null
)
select
    episode_id, podcast_id,
    count(*) as listeners,
    count(*) filter (not is_observed) as censored_listeners,
    count(*) filter (is_observed) as observed_listeners,
    count(*) filter (is_observed and went_on) as continued_listeners,
    share(continued_listeners, observed_listeners) as continuation_share
from listeners
group by episode_id, podcast_id;

create table gold.listener_cohort_retention as
with active as (
    select distinct user_id, cast(date_trunc('week', event_date) as date) as week_start
    from gold.listener_daily
    where valid_listens > 0
),
listeners as (
    select user_id, min(week_start) as cohort_week from active group by user_id
),
cohorts as (
    select cohort_week, count(*) as cohort_listeners from listeners group by cohort_week
),
activity as (
    select cohort_week, week_start, count(*) as n from active inner join listeners using (user_id) group by all
),
weeks as (
    select distinct week_start from gold.dim_dates cross join seen where date_day < end_date
)
select
    cohort_week,
    cast((week_start - cohort_week) // 7 as integer) as week_number,
    cohort_listeners,
    case when week_start + 7 <= end_date then coalesce(n, 0) end as active_listeners,
    share(case when week_start + 7 <= end_date then coalesce(n, 0) end, cohort_listeners) as retention_rate,
    week_start + 7 <= end_date as is_week_over,
    week_start
from cohorts
inner join weeks on cohort_week <= week_start
left join activity using (cohort_week, week_start)
cross join seen;


-- Answers.

create table gold.multi_episode_listeners_daily as
select event_date, count(*) as listener_count
from gold.listener_daily
where is_multi_episode
group by event_date;

create table gold.country_listen_through as
with users as (
    select user_id, trimmed(country) is null or trimmed(country) = '' as is_unknown, if(is_unknown, '(unknown)', country) as country
    from (select user_id, country from gold.dim_users)
),
completions as (
    select user_id, cast(duration as double) / duration_seconds as rate
    from gold.fact_user_interactions
    inner join gold.dim_episodes using (episode_id)
    where event_type = 'complete' and duration_seconds > 0
),
by_completion as (
    select
        users.country, is_unknown, count(*) as completion_count,
        mean(rate) as avg_rate, mean(if(rate > 1, 1, rate)) as avg_rate_capped
    from completions
    inner join users using (user_id)
    group by all
),
by_listen as (
    select
        users.country, is_unknown, count(*) as listens,
        mean(listen_fraction) as avg_fraction, mean(if(listen_fraction > 1, 1, listen_fraction)) as avg_fraction_capped
    from gold.fact_listens
    inner join users using (user_id)
    where listen_fraction is not null
    group by all
)
select
    country,
    coalesce(completion_count, 0) as completion_count,
    avg_rate as avg_listen_through_rate,
    avg_rate_capped as avg_listen_through_rate_capped,
    coalesce(listens, 0) as listens,
    avg_fraction as avg_fraction_per_listen,
    avg_fraction_capped as avg_fraction_per_listen_capped,
    is_unknown
from by_completion
full join by_listen using (country, is_unknown);

create table gold.listen_through_by_country as
select country, avg_listen_through_rate, completion_count
from gold.country_listen_through
where not is_unknown and completion_count > 0;

create table gold.top_completed_episodes as
with completions as (
    select episode_id, count(*) as completion_count
    from gold.fact_user_interactions
    cross join seen
    where event_type = 'complete' and event_date >= end_date - 7
    group by episode_id
    order by completion_count desc, episode_id
    limit 10
)
select episode_id, title, podcast_id, completion_count
from completions
inner join gold.dim_episodes using (episode_id);

create table gold.quality_daily as
with received_rows as (
    select
        cast(load_at as date) as load_date,
        count(distinct batch_id) as batches,
        count(*) as received,
        count(*) filter (is_malformed) as malformed,
        count(*) filter (not is_valid and not is_malformed) as invalid,
        count(*) filter (is_valid) as valid
    from bronze.validated_events
    group by load_date
),
codes as (
    pivot (
        select cast(load_at as date) as load_date, unnest(validation_errors) as code
        from bronze.validated_events
        where not is_valid
    )
    on code in (
        'malformed_json', 'missing_user_id', 'empty_user_id', 'missing_episode_id', 'empty_episode_id', 'missing_timestamp',
        'invalid_timestamp', 'timestamp_too_early', 'timestamp_in_future', 'missing_event_type', 'invalid_event_type',
        'invalid_duration', 'duration_out_of_range', 'unexpected_duration'
    )
    using count(*)
    group by load_date
),
facts as (
    select cast(load_at as date) as load_date, count(*) as facts from gold.fact_user_interactions group by load_date
)
select
    load_date,
    batches, batches as published_batches, 0::bigint as quarantined_batches, 0::bigint as released_batches,
    0::bigint as discarded_batches, 0::bigint as superseded_batches, 0::bigint as empty_batches,
    received, malformed, invalid,
    columns(codes.* exclude (load_date)),
    valid - coalesce(facts, 0) as duplicates,
    coalesce(facts, 0) as facts,
    0::bigint as held_back
from received_rows
left join codes using (load_date)
left join facts using (load_date);


-- What must hold: each row is a rule and the number of rows that contradict it.

create temp table contradictions as
select 'cleansed_events: one row an event' as rule, count(*) - count(distinct interaction_id) as n from silver.cleansed_events
union all select 'cleansed_events: one row a line', count(*) - (select count(*) from (select distinct batch_id, line_number from silver.cleansed_events)) from silver.cleansed_events
union all select 'cleansed_events: ids', count(*) from silver.cleansed_events where user_id is null or user_id = '' or episode_id is null or episode_id = ''
union all select 'cleansed_events: event type', count(*) from silver.cleansed_events where event_type is null or event_type not in ('play', 'pause', 'seek', 'complete')
union all select 'cleansed_events: duration', count(*) from silver.cleansed_events where (event_type in ('play', 'complete')) <> (duration is not null) or duration < 1
union all select 'cleansed_events: times', count(*) from silver.cleansed_events where "timestamp" is null or load_at is null
union all select 'facts: one for each event', abs((select count(*) from gold.fact_user_interactions) - (select count(*) from silver.cleansed_events))
union all select 'facts: event', count(*) from gold.fact_user_interactions anti join silver.cleansed_events using (interaction_id)
union all select 'facts: unique', count(*) - count(distinct interaction_id) from gold.fact_user_interactions
union all select 'facts: user', count(*) from gold.fact_user_interactions anti join gold.dim_users using (user_id)
union all select 'facts: episode', count(*) from gold.fact_user_interactions anti join gold.dim_episodes using (episode_id)
union all select 'facts: event type', count(*) from gold.fact_user_interactions where event_type not in ('play', 'pause', 'seek', 'complete')
union all select 'users: unique', count(*) - count(distinct user_id) from gold.dim_users
union all select 'episodes: unique', count(*) - count(distinct episode_id) from gold.dim_episodes
union all select 'podcasts: unique', count(*) - count(distinct podcast_id) from gold.dim_podcasts
union all select 'dates: unique', count(*) - count(distinct date_day) from gold.dim_dates
union all select 'listens: id', count(*) - count(distinct listen_id) from gold.fact_listens
union all select 'listens: session', count(*) - (select count(*) from (select distinct user_id, episode_id, session_number from gold.fact_listens)) from gold.fact_listens
union all select 'listens: user', count(*) from gold.fact_listens anti join gold.dim_users using (user_id)
union all select 'listens: episode', count(*) from gold.fact_listens anti join gold.dim_episodes using (episode_id)
union all select 'listens: date', count(*) from gold.fact_listens where event_date not in (select date_day from gold.dim_dates)
union all select 'listens: every play', abs((select count(*) from gold.fact_user_interactions where event_type = 'play') - (select coalesce(sum(starts), 0) from gold.fact_listens))
union all select 'episode_daily: unique', count(*) - (select count(*) from (select distinct episode_id, event_date from gold.episode_daily)) from gold.episode_daily
union all select 'episode_daily: every listen', abs((select coalesce(sum(listens), 0) from gold.episode_daily) - (select count(*) from gold.fact_listens))
union all select 'listener_daily: unique', count(*) - (select count(*) from (select distinct user_id, event_date from gold.listener_daily)) from gold.listener_daily
union all select 'listener_daily: every listen', abs((select coalesce(sum(listens), 0) from gold.listener_daily) - (select count(*) from gold.fact_listens))
union all select 'listener_daily: user', count(*) from gold.listener_daily anti join gold.dim_users using (user_id)
union all select 'listener_episodes: unique', count(*) - (select count(*) from (select distinct user_id, episode_id from gold.listener_episodes)) from gold.listener_episodes
union all select 'listener_episodes: every listen', abs((select coalesce(sum(listens), 0) from gold.listener_episodes) - (select count(*) from gold.fact_listens))
union all select 'listener_episodes: user', count(*) from gold.listener_episodes anti join gold.dim_users using (user_id)
union all select 'listener_episodes: podcast', count(*) from gold.listener_episodes anti join gold.dim_podcasts using (podcast_id) where podcast_id is not null
union all select 'listen_through: unique', count(*) - count(distinct episode_id) from gold.episode_listen_through
union all select 'release_curve: unique', count(*) - (select count(*) from (select distinct episode_id, days_since_release from gold.episode_release_curve)) from gold.episode_release_curve
union all select 'transitions: unique', count(*) - count(distinct episode_id) from gold.episode_transitions
union all select 'retention: unique', count(*) - (select count(*) from (select distinct cohort_week, week_number from gold.listener_cohort_retention)) from gold.listener_cohort_retention
union all select 'countries: unique', count(*) - (select count(*) from (select distinct country, is_unknown from gold.country_listen_through)) from gold.country_listen_through
union all select 'lines: every one of a file', abs((select coalesce(sum(received), 0) from gold.quality_daily) - (select count(*) from bronze.validated_events))
union all select 'lines: each in one place', count(*) from gold.quality_daily where received <> malformed + invalid + duplicates + facts + held_back or malformed <> malformed_json
union all select 'lines: duplicates', abs((select coalesce(sum(duplicates), 0) from gold.quality_daily) - (select coalesce(sum(duplicate_count), 0) from silver.cleansed_events));

select error('This does not hold: ' || string_agg(rule, ', ')) from contradictions where n <> 0 having count(*) > 0;

checkpoint;
